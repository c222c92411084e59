# nix-build contrib/packaging/nix, in a checkout
{ pkgs ? import <nixpkgs> { } }:

pkgs.python3Packages.buildPythonApplication {
  pname = "sftpfs";
  version = "0.1.0";
  pyproject = true;
  src = pkgs.lib.cleanSource ../../..;

  build-system = [ pkgs.python3Packages.setuptools ];
  dependencies = with pkgs.python3Packages; [
    asyncssh
    bcrypt
    cachetools
    cryptography
    pyfuse3
    rich
    trio
    uvloop
  ];

  # A user's mount needs the set-user-ID fusermount3 of programs.fuse: NixOS has it in /run/wrappers/bin.
  pythonImportsCheck = [ "sftpfs.cli.main" ];
  doCheck = false;

  postInstall = ''
    for name in mount.sftpfs mount.fuse.sftpfs umount.sftpfs umount.fuse.sftpfs; do
      ln -s sftpfs $out/bin/$name
    done
  '';

  meta = {
    description = "Mount a directory of an SFTP server";
    license = pkgs.lib.licenses.mit;
    mainProgram = "sftpfs";
    platforms = pkgs.lib.platforms.linux;
  };
}
