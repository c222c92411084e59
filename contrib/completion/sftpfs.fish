# Made by contrib/generate from the tables of sftpfs.cli; do not edit.
function __sftpfs_names
    set -l given (commandline -ct | string replace -r '[^,]*$' '')
    for name in debug sshfs_debug verbose sshfs_verbose log_file= port= ssh_config= password_stdin max_conns= timeout= reconnect no_reconnect soft hard delay_connect no_check_root sftp_server= ssh_command= directport= unix_socket= vsock= passive slave max_read= max_write= dir_cache= cache= dcache_timeout= cache_timeout= dcache_stat_timeout= cache_stat_timeout= dcache_dir_timeout= cache_dir_timeout= dcache_link_timeout= cache_link_timeout= negative_timeout= dcache_max_size= cache_max_size= entry_timeout= attr_timeout= sshfs_sync no_readahead direct_io kernel_cache auto_cache noauto_cache idmap= uidfile= gidfile= nomap= uid= gid= umask= default_permissions no_default_permissions nodefault_permissions allow_other allow_root contain_symlinks no_contain_symlinks transform_symlinks follow_symlinks disable_hardlink ro rw fsname= subtype= nosuid suid nodev dev noexec exec sync async auto_unmount context= fscontext= defcontext= rootcontext= defaults auto noauto nofail _netdev comment user nouser users nousers owner group uhelper helper atime noatime diratime nodiratime relatime norelatime strictatime nostrictatime lazytime nolazytime dirsync mand nomand iversion noiversion silent loud symfollow workaround= ssh_protocol= cipher= dcache_clean_interval= dcache_min_clean_interval= cache_clean_interval= cache_min_clean_interval= ac_attr_timeout= sync_readdir nonempty use_ino readdir_ino hard_remove intr intr_signal big_writes large_read async_read atomic_o_trunc sync_read max_readahead noforget remember no_rofd_flush no_remote_lock no_remote_flock no_remote_posix_lock max_background congestion_threshold max_idle_threads max_threads clone_fd splice_read splice_write splice_move no_splice_read no_splice_write no_splice_move writeback_cache defer_permissions volname noappledouble noapplexattr local AddKeysToAgent= AddressFamily= BatchMode= BindAddress= BindInterface= CASignatureAlgorithms= CanonicalDomains= CanonicalizeFallbackLocal= CanonicalizeHostname= CanonicalizeMaxDots= CanonicalizePermittedCNAMEs= CertificateFile= ChallengeResponseAuthentication= ChannelTimeout= CheckHostIP= Ciphers= ClearAllForwardings= Compression= CompressionLevel= ConnectTimeout= ConnectionAttempts= ControlMaster= ControlPath= ControlPersist= DSAAuthentication= DynamicForward= EnableEscapeCommandline= EnableSSHKeysign= EscapeChar= ExitOnForwardFailure= FingerprintHash= ForkAfterAuthentication= ForwardAgent= ForwardX11= ForwardX11Timeout= ForwardX11Trusted= GSSAPIAuthentication= GSSAPIClientIdentity= GSSAPIDelegateCredentials= GSSAPIKexAlgorithms= GSSAPIKeyExchange= GSSAPIRenewalForcesRekey= GSSAPIServerIdentity= GSSAPITrustDns= GatewayPorts= GlobalKnownHostsFile= HashKnownHosts= HostKeyAlgorithms= HostKeyAlias= HostName= HostbasedAcceptedAlgorithms= HostbasedAuthentication= HostbasedKeyTypes= IPQoS= IdentitiesOnly= IdentityAgent= IdentityFile= IgnoreUnknown= Include= KbdInteractiveAuthentication= KbdInteractiveDevices= KeepAlive= KexAlgorithms= KnownHostsCommand= LocalCommand= LocalForward= LogLevel= LogVerbose= MACs= NoHostAuthenticationForLocalhost= NumberOfPasswordPrompts= ObscureKeystrokeTiming= PKCS11Provider= PasswordAuthentication= PermitLocalCommand= PermitRemoteOpen= Port= PreferredAuthentications= Protocol= ProxyCommand= ProxyJump= ProxyUseFdpass= PubkeyAcceptedAlgorithms= PubkeyAcceptedKeyTypes= PubkeyAuthentication= RSAAuthentication= RefuseConnection= RekeyLimit= RemoteCommand= RemoteForward= RequestTTY= RequiredRSASize= RevokedHostKeys= SecurityKeyProvider= SendEnv= ServerAliveCountMax= ServerAliveInterval= SessionType= SetEnv= SmartcardDevice= StdinNull= StreamLocalBindMask= StreamLocalBindUnlink= StrictHostKeyChecking= SyslogFacility= TCPKeepAlive= Tag= Tunnel= TunnelDevice= UpdateHostKeys= UseKeychain= User= UserKnownHostsFile= VerifyHostKeyDNS= VersionAddendum= VisualHostKey= WarnWeakCrypto= XAuthLocation=
        echo $given$name
    end
end
function __sftpfs_mounts
    string match -rg '^\S+ (\S+) fuse.sftpfs' < /proc/self/mounts
end
complete -c sftpfs -n __fish_is_first_arg -a '(__fish_print_hostnames):'
complete -c sftpfs -s o -x -a '(__sftpfs_names)' -d 'options, separated by commas'
complete -c sftpfs -s h -d 'show this help and end'
complete -c sftpfs -l help -d 'show this help and end'
complete -c sftpfs -s V -d 'show the version and end'
complete -c sftpfs -l version -d 'show the version and end'
complete -c sftpfs -s f -d 'stay in the foreground, log to stderr'
complete -c sftpfs -s d -d 'foreground, and log in detail'
complete -c sftpfs -l debug -d 'foreground, and log in detail'
complete -c sftpfs -s v -d 'log what is done and which options have no effect'
complete -c sftpfs -s p -r -d 'port to connect to'
complete -c sftpfs -s F -r -d 'read FILE instead of ~/.ssh/config and /etc/ssh/ssh_config; none: read no file'
complete -c sftpfs -s C -d 'compress, as Compression=yes'
complete -c sftpfs -s r -d 'read-only'
complete -c sftpfs -s w -d 'read and write (default)'
complete -c sftpfs -s s -d 'requests are answered concurrently in any case'
complete -c sftpfs -s n -d 'there is no mtab'
complete -c sftpfs -s t -r -d 'the type is known'
complete -c sftpfs -n __fish_is_first_arg -a status -d 'how a mount is; without MNT, all mounts of yours'
complete -c sftpfs -n '__fish_seen_subcommand_from status' -a '(__sftpfs_mounts)'
complete -c sftpfs -n __fish_is_first_arg -a stats -d 'every counter, for programs; without MNT, of all mounts of yours'
complete -c sftpfs -n '__fish_seen_subcommand_from stats' -a '(__sftpfs_mounts)'
complete -c sftpfs -n '__fish_seen_subcommand_from stats' -l json -d 'as JSON (default)'
complete -c sftpfs -n '__fish_seen_subcommand_from stats' -l prometheus -d 'in Prometheus\'s text format'
complete -c sftpfs -n __fish_is_first_arg -a flush -d 'wait until all that was written is on the server'
complete -c sftpfs -n '__fish_seen_subcommand_from flush' -a '(__sftpfs_mounts)'
complete -c sftpfs -n __fish_is_first_arg -a top -d 'watch a mount at work'
complete -c sftpfs -n '__fish_seen_subcommand_from top' -a '(__sftpfs_mounts)'
complete -c sftpfs -n '__fish_seen_subcommand_from top' -s i -r -d 'time between two looks'
complete -c sftpfs -n '__fish_seen_subcommand_from top' -l interval -r -d 'time between two looks'
complete -c sftpfs -n __fish_is_first_arg -a log -d 'what a mount logs, as it does; with --trace every operation'
complete -c sftpfs -n '__fish_seen_subcommand_from log' -a '(__sftpfs_mounts)'
complete -c sftpfs -n '__fish_seen_subcommand_from log' -l trace -d 'a line for every operation'
complete -c sftpfs -n __fish_is_first_arg -a umount -d 'bring everything to the server and unmount'
complete -c sftpfs -n '__fish_seen_subcommand_from umount' -a '(__sftpfs_mounts)'
complete -c sftpfs -n '__fish_seen_subcommand_from umount' -l force -d 'unmount although somebody uses it, and without what the server does not take within three seconds; says what is lost'
complete -c sftpfs -n __fish_is_first_arg -a refresh -d 'see now what the server has'
complete -c sftpfs -n __fish_is_first_arg -a warm -d 'fetch listings and content ahead'
complete -c sftpfs -n __fish_is_first_arg -a install-helpers -d 'let mount(8) and umount(8) know the types sftpfs and fuse.sftpfs'
complete -c sftpfs -n '__fish_seen_subcommand_from install-helpers' -l remove -d 'remove the links'
complete -c sftpfs -n '__fish_seen_subcommand_from install-helpers' -l directory -r -d 'where the links are'
