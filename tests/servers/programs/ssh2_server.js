// The SFTP server of npm's ssh2 over node's file system, for one key. Requests are carried out as they come, by
// node's own asynchronous calls: as programs that use the package do.
'use strict';
const fs = require('fs');
const path = require('path');
const { Server, utils } = require('ssh2');
const { STATUS_CODE, OPEN_MODE } = utils.sftp;

const [port, hostKey, clientKey] = process.argv.slice(2);
const client = utils.parseKey(fs.readFileSync(clientKey));

function status(error) {
  switch (error && error.code) {
    case null: case undefined: return error ? STATUS_CODE.FAILURE : STATUS_CODE.OK;
    case 'ENOENT': return STATUS_CODE.NO_SUCH_FILE;
    case 'EACCES': case 'EPERM': return STATUS_CODE.PERMISSION_DENIED;
    default: return STATUS_CODE.FAILURE;
  }
}

function flags(asked) {
  const { O_RDONLY, O_WRONLY, O_RDWR, O_APPEND, O_CREAT, O_TRUNC, O_EXCL } = fs.constants;
  const writes = asked & OPEN_MODE.WRITE;
  return (writes ? (asked & OPEN_MODE.READ ? O_RDWR : O_WRONLY) : O_RDONLY) |
    (asked & OPEN_MODE.APPEND ? O_APPEND : 0) | (asked & OPEN_MODE.CREAT ? O_CREAT : 0) |
    (asked & OPEN_MODE.TRUNC ? O_TRUNC : 0) | (asked & OPEN_MODE.EXCL ? O_EXCL : 0);
}

function attributes(stats) {
  return { mode: stats.mode, uid: stats.uid, gid: stats.gid, size: stats.size,
           atime: Math.floor(stats.atimeMs / 1000), mtime: Math.floor(stats.mtimeMs / 1000) };
}

function serve(sftp) {
  const open = new Map();
  let next = 0;
  const answer = (id) => (error) => sftp.status(id, status(error), error ? error.message : undefined);
  const add = (id, entry) => {
    const handle = Buffer.alloc(4);
    handle.writeUInt32BE(next);
    open.set(next++, entry);
    sftp.handle(id, handle);
  };
  const find = (id, handle) => {
    const entry = handle.length === 4 ? open.get(handle.readUInt32BE(0)) : undefined;
    if (!entry) sftp.status(id, STATUS_CODE.FAILURE, 'no such handle');
    return entry;
  };
  const told = (id) => (error, stats) => error ? answer(id)(error) : sftp.attrs(id, attributes(stats));
  // Each of what is asked for, one after the other.
  const change = (id, by, asked) => {
    const steps = [];
    if (asked.size !== undefined) steps.push((done) => by.truncate(asked.size, done));
    if (asked.uid !== undefined) steps.push((done) => by.chown(asked.uid, asked.gid, done));
    if (asked.mode !== undefined) steps.push((done) => by.chmod(asked.mode & 0o7777, done));
    if (asked.mtime !== undefined) steps.push((done) => by.utimes(asked.atime, asked.mtime, done));
    const step = (error) => {
      const first = error ? undefined : steps.shift();
      if (first) first(step); else answer(id)(error);
    };
    step();
  };
  sftp.on('OPEN', (id, name, how, asked) => {
    const mode = asked.mode === undefined ? 0o666 : asked.mode & 0o7777;
    fs.open(name, flags(how), mode, (error, file) => error ? answer(id)(error) : add(id, { file }));
  }).on('READ', (id, handle, offset, length) => {
    const entry = find(id, handle);
    if (!entry) return;
    const buffer = Buffer.alloc(Math.min(length, 256 * 1024));
    fs.read(entry.file, buffer, 0, buffer.length, offset, (error, count) => {
      if (error) answer(id)(error);
      else if (count === 0) sftp.status(id, STATUS_CODE.EOF);
      else sftp.data(id, buffer.subarray(0, count));
    });
  }).on('WRITE', (id, handle, offset, data) => {
    const entry = find(id, handle);
    if (!entry) return;
    const rest = (from) => fs.write(entry.file, data, from, data.length - from, offset + from, (error, count) => {
      if (error || from + count === data.length) answer(id)(error); else rest(from + count);
    });
    rest(0);
  }).on('CLOSE', (id, handle) => {
    const entry = find(id, handle);
    if (!entry) return;
    open.delete(handle.readUInt32BE(0));
    if (entry.file === undefined) answer(id)(null); else fs.close(entry.file, answer(id));
  }).on('FSTAT', (id, handle) => {
    const entry = find(id, handle);
    if (entry) fs.fstat(entry.file, told(id));
  }).on('FSETSTAT', (id, handle, asked) => {
    const entry = find(id, handle);
    if (entry) change(id, {
      truncate: (size, done) => fs.ftruncate(entry.file, size, done),
      chown: (uid, gid, done) => fs.fchown(entry.file, uid, gid, done),
      chmod: (mode, done) => fs.fchmod(entry.file, mode, done),
      utimes: (atime, mtime, done) => fs.futimes(entry.file, atime, mtime, done) }, asked);
  }).on('SETSTAT', (id, name, asked) => change(id, {
    truncate: (size, done) => fs.truncate(name, size, done),
    chown: (uid, gid, done) => fs.chown(name, uid, gid, done),
    chmod: (mode, done) => fs.chmod(name, mode, done),
    utimes: (atime, mtime, done) => fs.utimes(name, atime, mtime, done) }, asked)
  ).on('STAT', (id, name) => fs.stat(name, told(id))
  ).on('LSTAT', (id, name) => fs.lstat(name, told(id))
  ).on('OPENDIR', (id, name) => fs.readdir(name, (error, names) => {
    if (error) answer(id)(error); else add(id, { directory: name, names });
  })).on('READDIR', (id, handle) => {
    const entry = find(id, handle);
    if (!entry) return;
    const part = (entry.names || []).splice(0, 100);
    if (!part.length) { sftp.status(id, STATUS_CODE.EOF); return; }
    const found = [];
    let left = part.length;
    part.forEach((name) => fs.lstat(path.join(entry.directory, name), (error, stats) => {
      if (!error) found.push({ filename: name, longname: name, attrs: attributes(stats) });
      if (!--left) sftp.name(id, found);
    }));
  }).on('REMOVE', (id, name) => fs.unlink(name, answer(id))
  ).on('MKDIR', (id, name, asked) => fs.mkdir(name, asked.mode === undefined ? 0o777 : asked.mode & 0o7777, answer(id))
  ).on('RMDIR', (id, name) => fs.rmdir(name, answer(id))
  ).on('REALPATH', (id, name) => sftp.name(id, [{ filename: path.resolve('/', name), longname: '', attrs: {} }])
  ).on('RENAME', (id, from, to) => fs.access(to, (error) => {
    // version 3 does not replace
    if (error) fs.rename(from, to, answer(id)); else sftp.status(id, STATUS_CODE.FAILURE, 'the new name is there');
  })).on('READLINK', (id, name) => fs.readlink(name, (error, target) => {
    if (error) answer(id)(error); else sftp.name(id, [{ filename: target, longname: target, attrs: {} }]);
  })).on('SYMLINK', (id, link, target) => fs.symlink(target, link, answer(id)));
}

new Server({ hostKeys: [fs.readFileSync(hostKey)] }, (connection) => {
  connection.on('authentication', (context) => {
    const same = context.method === 'publickey' && context.key.algo === client.type &&
      context.key.data.equals(client.getPublicSSH());
    if (same && (!context.signature || client.verify(context.blob, context.signature, context.hashAlgo))) context.accept();
    else context.reject(['publickey']);
  }).on('ready', () => connection.on('session', (accept) => accept().on('sftp', (take) => serve(take()))))
    .on('error', () => {});
}).listen(Number(port), '127.0.0.1');
