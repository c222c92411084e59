# Made by contrib/generate from the tables of sftpfs.cli; do not edit.
# Not with compgen -W, which would run commands in the name of somebody's mountpoint
_sftpfs_mounts() {
    local path type
    while read -r _ path type _; do
        printf -v path %b "$path"
        [[ $type == fuse.sftpfs && $path == "${1//\\/}"* ]] && COMPREPLY+=("$path")
    done </proc/self/mounts
}

_sftpfs() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} words="" head=""
    local line=${COMP_LINE:0:COMP_POINT} kind=-d at
    COMPREPLY=()
    local names="debug sshfs_debug verbose sshfs_verbose log_file= port= ssh_config= password_stdin max_conns= timeout= reconnect no_reconnect soft hard delay_connect no_check_root sftp_server= ssh_command= directport= unix_socket= vsock= passive slave bwlimit= max_read= max_write= dir_cache= cache= dcache_timeout= cache_timeout= dcache_stat_timeout= cache_stat_timeout= dcache_dir_timeout= cache_dir_timeout= dcache_link_timeout= cache_link_timeout= negative_timeout= dcache_max_size= cache_max_size= entry_timeout= attr_timeout= sshfs_sync no_readahead direct_io kernel_cache auto_cache noauto_cache idmap= uidfile= gidfile= nomap= uid= gid= umask= default_permissions no_default_permissions nodefault_permissions allow_other allow_root contain_symlinks no_contain_symlinks transform_symlinks follow_symlinks modules= from_code= to_code= disable_hardlink ro rw fsname= subtype= nosuid suid nodev dev noexec exec sync async auto_unmount context= fscontext= defcontext= rootcontext= defaults auto noauto nofail _netdev comment user nouser users nousers owner group uhelper helper atime noatime diratime nodiratime relatime norelatime strictatime nostrictatime lazytime nolazytime dirsync mand nomand iversion noiversion silent loud symfollow workaround= ssh_protocol= cipher= dcache_clean_interval= dcache_min_clean_interval= cache_clean_interval= cache_min_clean_interval= ac_attr_timeout= sync_readdir nonempty use_ino readdir_ino hard_remove intr intr_signal big_writes large_read async_read atomic_o_trunc sync_read max_readahead noforget remember no_rofd_flush no_remote_lock no_remote_flock no_remote_posix_lock max_background congestion_threshold max_idle_threads max_threads clone_fd splice_read splice_write splice_move no_splice_read no_splice_write no_splice_move writeback_cache defer_permissions volname noappledouble noapplexattr local AddKeysToAgent= AddressFamily= BatchMode= BindAddress= BindInterface= CASignatureAlgorithms= CanonicalDomains= CanonicalizeFallbackLocal= CanonicalizeHostname= CanonicalizeMaxDots= CanonicalizePermittedCNAMEs= CertificateFile= ChallengeResponseAuthentication= ChannelTimeout= CheckHostIP= Ciphers= ClearAllForwardings= Compression= CompressionLevel= ConnectTimeout= ConnectionAttempts= ControlMaster= ControlPath= ControlPersist= DSAAuthentication= DynamicForward= EnableEscapeCommandline= EnableSSHKeysign= EscapeChar= ExitOnForwardFailure= FingerprintHash= ForkAfterAuthentication= ForwardAgent= ForwardX11= ForwardX11Timeout= ForwardX11Trusted= GSSAPIAuthentication= GSSAPIClientIdentity= GSSAPIDelegateCredentials= GSSAPIKexAlgorithms= GSSAPIKeyExchange= GSSAPIRenewalForcesRekey= GSSAPIServerIdentity= GSSAPITrustDns= GatewayPorts= GlobalKnownHostsFile= HashKnownHosts= HostKeyAlgorithms= HostKeyAlias= HostName= HostbasedAcceptedAlgorithms= HostbasedAuthentication= HostbasedKeyTypes= IPQoS= IdentitiesOnly= IdentityAgent= IdentityFile= IgnoreUnknown= Include= KbdInteractiveAuthentication= KbdInteractiveDevices= KeepAlive= KexAlgorithms= KnownHostsCommand= LocalCommand= LocalForward= LogLevel= LogVerbose= MACs= NoHostAuthenticationForLocalhost= NumberOfPasswordPrompts= ObscureKeystrokeTiming= PKCS11Provider= PasswordAuthentication= PermitLocalCommand= PermitRemoteOpen= Port= PreferredAuthentications= Protocol= ProxyCommand= ProxyJump= ProxyUseFdpass= PubkeyAcceptedAlgorithms= PubkeyAcceptedKeyTypes= PubkeyAuthentication= RSAAuthentication= RefuseConnection= RekeyLimit= RemoteCommand= RemoteForward= RequestTTY= RequiredRSASize= RevokedHostKeys= SecurityKeyProvider= SendEnv= ServerAliveCountMax= ServerAliveInterval= SessionType= SetEnv= SmartcardDevice= StdinNull= StreamLocalBindMask= StreamLocalBindUnlink= StrictHostKeyChecking= SyslogFacility= TCPKeepAlive= Tag= Tunnel= TunnelDevice= UpdateHostKeys= UseKeychain= User= UserKnownHostsFile= VerifyHostKeyDNS= VersionAddendum= VisualHostKey= WarnWeakCrypto= XAuthLocation="
    # bash splits words at "=", so the list after -o is put together again
    if [[ $previous == -o || $line =~ [[:space:]]-o[[:space:]]*[^[:space:]]*$ ]]; then
        current=${line##*[[:space:]]}
        [[ $current == -o* ]] && head=-o
        current=${current#-o}
        [[ $current == *,* ]] && head+=${current%,*},
        current=${current##*,}
        [[ $current == *=* ]] && names="dir_cache=yes dir_cache=no cache=yes cache=no idmap=none idmap=user idmap=file idmap=name nomap=error nomap=ignore"
        compopt -o nospace
        # what is before the last of bash's word breaks is another word, and stays as it is
        for ((at = ${#head}; at > 0; at--)); do
            [[ $COMP_WORDBREAKS == *"${head:at-1:1}"* ]] && break
        done
        [[ ${head:at-1:1} == @ ]] && ((at -= at > 0))
        head=${head:at}
        COMPREPLY=($(compgen -P "$head" -W "$names" -- "$current"))
        [[ $current == *=* && $COMP_WORDBREAKS == *=* ]] && COMPREPLY=("${COMPREPLY[@]##*=}")
        return
    fi
    case $previous in
        -F) COMPREPLY=($(compgen -f -- "$current")); return ;;
        -p) return ;;
    esac
    if [[ $COMP_CWORD -eq 1 && $current != -* ]]; then
        COMPREPLY=($(compgen -W "status stats flush top log bwlimit umount restore refresh warm cp rm doctor report bench install-helpers" -- "$current"))
        declare -F _known_hosts_real >/dev/null && _known_hosts_real -c -a -- "$current"
        return
    fi
    case ${COMP_WORDS[1]} in
        status) words="--help"; _sftpfs_mounts "$current" ;;
        stats) words="--json --prometheus --help"; _sftpfs_mounts "$current" ;;
        flush) words="--help"; _sftpfs_mounts "$current" ;;
        top) words="-i --interval --help"; _sftpfs_mounts "$current" ;;
        log) words="--trace --level --help"; _sftpfs_mounts "$current" ;;
        bwlimit) words="--help"; _sftpfs_mounts "$current" ;;
        umount) words="--force --help"; _sftpfs_mounts "$current" ;;
        restore) words="--list --drop --force --to --help"; kind=-f ;;
        refresh) words="--help"; kind=-f ;;
        warm) words="--help"; kind=-f ;;
        cp) words="-r -R --recursive -p --preserve -d --no-dereference -a --archive -f --force -v --verbose --help"; kind=-f ;;
        rm) words="-r -R --recursive -f --force -d --dir -v --verbose --help"; kind=-f ;;
        doctor) words="--try -o --help" ;;
        report) words="--to --help"; _sftpfs_mounts "$current" ;;
        bench) words="--size -o --help" ;;
        install-helpers) words="--remove --directory --help" ;;
        *) [[ $current == -* ]] && words="-h --help -V --version -f -d --debug -v -p -F -C -r -w -s -n -t -o" ;;
    esac
    COMPREPLY+=($(compgen -W "$words" -- "$current"))
    [[ $current == -* ]] && return
    compopt -o filenames
    mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen $kind -- "$current")
}
complete -F _sftpfs sftpfs
