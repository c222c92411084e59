"""Statements whose tests stand elsewhere: mark → (sentence, file::test, further tests)."""

from __future__ import annotations

ELSEWHERE: dict[str, tuple[str, ...]] = {
    "P1": (
        "A read returns the file's bytes, its end, or an error: never fewer bytes than the file has, and "
        "never zeros for bytes that could not be fetched.",
        "tests/mount/test_dead_server.py::test_a_connection_cut_is_an_error_not_an_end_of_file",
    ),
    "P2": (
        "`close` and `fsync` return 0 only after the server acknowledged every write of the file, or "
        "after the handle was told which failed.",
        "tests/mount/posix/test_files.py::test_close_puts_the_data_on_the_server",
    ),
    "P3": (
        "A failed write is reported to every handle that was open for writing: by its next `write` or "
        "`fsync`, once, and by each `close` until then.",
        "tests/component/data/test_failures.py::test_failed_write_is_told_once_to_each_writer_open_then",
        "tests/faults/test_reported_errors.py::test_fsync_tells_whatever_closed_a_copy_before",
    ),
    "P4": (
        "A request the server does not answer within `timeout=` (30 s by default) fails with an errno, and "
        "the mount can still be unmounted.",
        "tests/mount/test_dead_server.py::test_new_operations_in_a_hole_end_and_the_mount_comes_down",
    ),
    "P5": (
        "`sftpfs flush` and unmounting name the file of a failure that nobody was told of: one that "
        "neither `write` nor `fsync` reported, nor a last `close` while the program that opened the file"
        " was alive.",
        "tests/component/data/test_failures.py::test_close_tells_each_time_until_write_or_fsync_has_told",
        "tests/faults/test_reported_errors.py::test_what_a_program_that_just_ended_lost_is_named",
        "tests/faults/test_reported_errors.py::test_close_tells_what_it_told_of_another_copy",
    ),
    "P9": (
        "They also name what an outage took (`ETIMEDOUT`, `ESTALE`) although a `close` reported it, and "
        "`ETIMEDOUT` although a `write` reported it.",
        "tests/component/data/test_failures.py::test_what_an_outage_took_is_named_though_a_close_told_it",
        "tests/component/data/test_failures.py::test_what_an_outage_took_is_named_though_a_write_told_it",
    ),
    "P6": (
        "`fsync` reports a failure also by a handle that only reads, and by one that was opened after "
        "the failure, as long as no `write` or `fsync` has reported it to anybody (`sync FILE`).",
        "tests/component/data/test_failures.py::"
        "test_fsync_tells_whoever_has_or_opens_the_file_until_somebody_was_told",
        "tests/faults/test_reported_errors.py::test_sync_of_a_file_whose_write_was_refused",
    ),
    "P7": (
        "After a failed write, each further write by the same handle waits for the server, until one is "
        "acknowledged: if the server refuses it, the file's position stays.",
        "tests/component/data/test_failures.py::test_after_a_failure_a_write_waits_until_one_is_acknowledged",
    ),
    "P8": (
        "If a file ends before the size that the server keeps reporting for it, reading there is `EIO`, "
        "not the end of a shorter file.",
        "tests/component/data/test_reading.py::test_a_size_that_is_not_there_is_an_error",
        "tests/mount/test_coherence.py::test_files_of_sys_end_where_their_bytes_do",
    ),
    "C1": (
        "A change made here is seen at once by every process that uses the mount.",
        "tests/mount/posix/test_directories.py::test_local_changes_show_in_the_next_listing",
    ),
    "C2": (
        "Every `open` asks the server for the file's version, its size and mtime, and drops cached content "
        "of another version.",
        "tests/mount/test_coherence.py::test_open_sees_a_file_replaced_on_the_server",
    ),
    "C3": (
        "Cached content of the same version is used again.",
        "tests/component/data/test_open.py::test_unchanged_file_is_served_from_memory_after_reopening",
    ),
    "C4": (
        "A version whose mtime is within three seconds of when its content was fetched, by the server's "
        "clock, is not taken for unchanged at the next open.",
        "tests/mount/test_coherence.py::test_open_sees_content_changed_on_the_server",
        "tests/mount/test_clocks_apart.py::test_a_change_within_the_second_is_seen_by_the_next_open",
    ),
    "C5": (
        "sftpfs believes attributes, listings and link targets for `cache_timeout=` (20 s by default), "
        "and no longer while the server is there.",
        "tests/mount/test_coherence.py::test_everything_shows_after_the_lease",
        "tests/mount/posix/test_symlinks.py::test_a_target_changed_on_the_server_shows_after_the_lease",
    ),
    "C6": (
        "A program that keeps a file open sees it grow on the server: sftpfs asks about the file every "
        "second while it changes.",
        "tests/mount/test_coherence.py::test_a_file_made_here_and_grown_there_is_followed",
        "tests/mount/test_open_in_memory.py::test_one_that_was_changed_lately_is_followed",
        "tests/mount/test_open_in_memory.py::test_one_that_grows_as_it_is_opened_is_followed",
    ),
    "C8": (
        "What was fetched ahead is believed as long as its lease, counted from when it was asked for.",
        "tests/mount/prefetch/test_ahead.py::test_what_was_fetched_ahead_is_not_believed_past_its_lease",
    ),
    "C12": (
        "Until then sftpfs asks for the first name that a listing does not have, together with the "
        "directory, and so finds a name that was made on the server since the mount began, or since a "
        "walk or lookups of other names made sftpfs list the directory.",
        "tests/mount/test_coherence.py::test_a_name_made_on_the_server_just_after_the_mount",
        "tests/mount/test_coherence.py::test_a_name_made_on_the_server_after_a_listing_that_nobody_asked_for",
    ),
    "C11": (
        "With `no_readahead` a file is opened on the server as often as programs open it, each time by "
        "one handle, and sftpfs fetches nothing of it that nobody reads (except what the kernel reads "
        "ahead of a reader).",
        "tests/mount/prefetch/test_ahead.py::test_no_readahead_asks_for_nothing_that_is_not_read",
        "tests/mount/prefetch/test_ahead.py::test_no_readahead_opens_exactly_what_is_opened_by_one_handle",
        "tests/component/remote/test_stall_policy.py::test_no_file_is_opened_again_where_each_is_to_have_one_handle",
    ),
    "C9": (
        "With `cache=no` every `stat` and lookup asks the server.",
        "tests/mount/test_coherence.py::test_without_a_cache_everything_shows_at_once",
    ),
    "D1": (
        "A change of names is on the server when the call returns.",
        "tests/mount/posix/test_rename.py::test_rename",
        "tests/mount/posix/test_directories.py::test_mkdir_makes_an_empty_directory_on_the_server",
        "tests/mount/posix/test_directories.py::test_rmdir_removes_an_empty_directory",
    ),
    "D2": (
        "After `fsync` the data is on the server although the file is still open.",
        "tests/mount/posix/test_files.py::test_fsync_puts_the_data_on_the_server_before_close",
    ),
    "D4": (
        "`fsync` of a directory succeeds: sftpfs waited for every change in it already.",
        "tests/mount/posix/test_directories.py::test_fsync_of_a_directory_succeeds",
    ),
    "D5": (
        "Unmounting waits until everything written is on the server, and reports data that cannot be "
        "written by the exit status and in the log.",
        "tests/mount/command/test_life.py::test_data_that_cannot_be_written_is_told_by_the_status",
        "tests/mount/command/test_life.py::test_a_file_open_past_unmount_is_written",
    ),
    "N1": (
        "Of many that create one name with `O_EXCL`, or by `mkdir`, exactly one succeeds and the others get "
        "`EEXIST`.",
        "tests/mount/test_concurrency.py::test_one_of_many_exclusive_creates_wins",
        "tests/mount/test_concurrency.py::test_one_of_many_mkdirs_wins",
    ),
    "N2": (
        "A rename over an existing file replaces it, and a program that had it open keeps it.",
        "tests/mount/posix/test_rename.py::test_rename_over_an_open_file_keeps_what_was_open",
    ),
    "N4": (
        "A directory renamed into itself is `EINVAL`.",
        "tests/mount/posix/test_rename.py::test_rename_of_a_directory_into_itself_is_einval",
    ),
    "N5": (
        "A directory over a file is `ENOTDIR`, a file over a directory `EISDIR`.",
        "tests/mount/posix/test_rename.py::test_rename_between_kinds",
    ),
    "N6": (
        "`RENAME_NOREPLACE` over a taken name is `EEXIST`, also if the name was taken on the server a "
        "moment ago.",
        "tests/mount/posix/test_rename.py::test_noreplace_over_a_name_just_taken_on_the_server_is_eexist",
        "tests/mount/posix/test_rename.py::test_noreplace_over_an_existing_name_is_eexist",
    ),
    "N7": (
        "`RENAME_EXCHANGE` is `EINVAL` and changes nothing.",
        "tests/mount/posix/test_rename.py::test_exchange_is_refused_and_changes_nothing",
    ),
    "N9": (
        "Renaming one name of a file over another name of it does nothing, as POSIX has it.",
        "tests/mount/posix/test_rename.py::test_rename_of_a_hard_link_over_its_other_name_keeps_both",
    ),
    "N10": (
        "A renamed directory keeps its open files and everything known below it.",
        "tests/mount/posix/test_rename.py::test_rename_of_a_directory_keeps_open_files_and_children",
    ),
    "N11": (
        "A removed file that is open goes on working, and leaves no hidden name behind: its directory can "
        "be removed.",
        "tests/mount/posix/test_directories.py::test_rmdir_right_after_unlink_of_an_open_file",
        "tests/mount/posix/test_files.py::test_unlink_while_open",
    ),
    "N20": (
        "A removed file that is open can be opened again by `/proc/PID/fd` or `/dev/stdin`, for what an "
        "open handle of it may do already; for anything else it is `ESTALE`.",
        "tests/mount/posix/test_files.py::test_a_removed_file_is_opened_again",
        "tests/mount/posix/test_files.py::test_the_file_that_was_replaced_is_opened_again",
    ),
    "N31": (
        "`sftpfs rm` ends with 0 once the server has removed everything. Otherwise it names each path that "
        "stays and why, goes on with the others, and ends with 1.",
        "tests/mount/control/test_rm.py::test_the_same_words_and_status",
        "tests/mount/control/test_rm.py::test_what_the_server_refuses",
        "tests/mount/control/test_rm.py::test_lost_replies",
    ),
    "N32": (
        "Programs on the mount no longer see the names once it has returned, nor those that it found gone; "
        "what they have open goes on, as after an unlink of their own (`N11`).",
        "tests/mount/control/test_rm.py::test_names_vanish_and_what_is_open_stays",
        "tests/mount/control/test_rm.py::test_beside_programs_that_change_the_same_names",
    ),
    "N33": (
        "It follows no symbolic link, and leaves alone what is not in the mount or is mounted below a path "
        "(`EBUSY`), with the directories above it.",
        "tests/mount/control/test_rm.py::test_a_link_is_not_followed",
        "tests/mount/control/test_rm.py::test_what_is_in_no_mount_or_mounted_on_stays",
    ),
    "N34": (
        "It removes what it listed, as rm does. What another client makes in a directory after it was listed "
        "stays, and the directory is `ENOTEMPTY`.",
        "tests/mount/control/test_rm.py::test_what_others_change_meanwhile",
        "tests/mount/control/test_rm.py::test_a_directory_that_others_fill_is_not_empty",
    ),
    "N35": (
        "If the server is out of reach for longer than the deadline, it names what was under way, says that "
        "the rest was not tried, and ends with 1.",
        "tests/mount/control/test_rm.py::test_a_server_out_of_reach",
    ),
    "N36": (
        "After Ctrl-C it ends at once; what was under way is removed or not, and the mount shows which.",
        "tests/mount/control/test_rm.py::test_ctrl_c",
    ),
    "N12": (
        "Making a pipe, a socket or a device is `EPERM`; those on the server are shown.",
        "tests/mount/posix/test_special.py::test_mknod_of_a_special_file_is_refused",
        "tests/mount/posix/test_special.py::test_a_unix_socket_is_refused",
        "tests/mount/posix/test_metadata.py::test_special_files_are_shown",
    ),
    "N17": (
        "`rewinddir` takes a new snapshot.",
        "tests/mount/posix/test_directories.py::test_rewinddir_starts_again",
    ),
    "N21": (
        "A directory of more than some 2,000 names is shown while it comes, and its snapshot is taken in "
        "pieces: what is made, removed or renamed meanwhile may be in it or not, and all else is in it once.",
        "tests/mount/test_huge_directories.py::test_the_first_names_come_after_one_wait",
        "tests/mount/test_huge_directories.py::test_changes_while_it_comes_skip_nothing",
    ),
    "N22": (
        "If the rest does not come, or may lack names, `readdir` fails behind what it has shown, and does "
        "not end.",
        "tests/mount/test_huge_directories.py::test_an_error_between_two_parts_is_no_end",
        "tests/mount/test_huge_directories.py::test_a_directory_made_unreadable_between_two_parts",
    ),
    "N18": (
        "A listing has `.` and `..`, and gives every entry's type and inode number.",
        "tests/mount/posix/test_directories.py::test_a_listing_tells_types_and_inode_numbers",
        "tests/mount/posix/test_directories.py::test_a_listing_has_dot_and_dotdot",
    ),
    "N19": (
        "Names are bytes: every byte but a slash and a NUL is kept as it is, and case matters.",
        "tests/mount/posix/test_names.py::test_odd_names",
        "tests/mount/posix/test_names.py::test_case_matters",
    ),
    "F1": (
        "Two handles see each other's writes at once.",
        "tests/mount/posix/test_files.py::test_two_handles_see_each_other",
    ),
    "F2": (
        "Appends by two handles all arrive, in the order made.",
        "tests/mount/posix/test_files.py::test_append_by_two_handles_in_turn",
    ),
    "F4": (
        "A truncation is seen at once by every open handle, and if the size grows again, what was cut "
        "off reads as zeros.",
        "tests/mount/posix/test_truncate.py::test_truncate_by_path_is_seen_by_an_open_handle",
        "tests/mount/posix/test_truncate.py::test_truncate_to_less_and_then_more_reads_zeros",
    ),
    "F5": (
        "What was never written between two writes reads as zeros.",
        "tests/mount/posix/test_files.py::test_seeking_past_the_end_leaves_a_hole_of_zeros",
    ),
    "F14": (
        "A file that shrinks on the server is never padded with zeros.",
        "tests/mount/test_coherence.py::test_a_file_shrinking_on_the_server_is_never_padded",
        "tests/mount/test_coherence.py::test_a_file_found_shorter_by_a_read_is_not_filled_up_with_zeros",
        "tests/faults/test_cut_within_a_read.py::test_a_read_that_found_the_file_grown_finds_it_cut",
    ),
    "F16": (
        "It waits for what was written before, and so does `sftpfs cp` of a file that is being written; "
        "neither waits for the writer to end.",
        "tests/mount/test_beside_a_writer.py::test_truncation_and_copy_end_before_the_writer",
    ),
    "F15": (
        "Reading a handle open for writing only, or writing one open for reading only, is `EBADF`.",
        "tests/mount/posix/test_files.py::test_reading_a_write_only_descriptor_is_ebadf",
        "tests/mount/posix/test_files.py::test_writing_a_read_only_descriptor_is_ebadf",
    ),
    "A2": (
        "`chmod` sets every bit asked for, and `stat` shows what the server made of it.",
        "tests/mount/posix/test_metadata.py::test_chmod",
    ),
    "A5": (
        "Setting one of atime and mtime leaves the other (`UTIME_OMIT`).",
        "tests/mount/posix/test_times.py::test_one_time_omits_the_other",
    ),
    "A6": (
        "An mtime set while a file is open survives its `close`, if nothing is written after it.",
        "tests/mount/posix/test_times.py::test_mtime_set_while_open_survives_the_close",
    ),
    "A7": (
        "The time that a program is told of a file it has open for writing is the file's after `close`, if "
        "nothing is written or changed in between: whole seconds, by the server's clock.",
        "tests/mount/test_times_while_written.py::test_the_time_told_after_the_last_write_is_the_time_after_close",
        "tests/mount/test_times_while_written.py::test_a_child_with_the_descriptor_is_told_the_time_after_close",
        "tests/mount/test_times_while_written.py::test_who_does_not_write_is_told_at_once_and_asks_again",
    ),
    "A22": (
        "A program that reads or seeks between its writes waits for no time, and none is asked for.",
        "tests/mount/test_times_while_written.py::test_who_reads_between_writes_waits_for_no_time_and_is_told_it_later",
        "tests/mount/test_times_while_written.py::test_preallocating_what_is_there_waits_for_no_answer",
    ),
    "A12": (
        "Blocks are counted from the size: SFTP does not report holes.",
        "tests/mount/posix/test_metadata.py::test_block_count_fits_the_size",
    ),
    "A23": (
        "A file handle (`name_to_handle_at`) opens its file also after the kernel has forgotten it, for as "
        "long as the mount knows the file and its name leads to it. After that, and on every other mount, of "
        "the same directory too, it is `ESTALE`.",
        "tests/mount/test_forgetting.py::test_who_uses_a_name_does_not_notice_that_others_are_forgotten",
        "tests/mount/test_forgetting.py::test_a_handle_of_another_mount_is_stale",
    ),
    "A14": (
        "A hard link made here shares inode number and link count with its other name.",
        "tests/mount/posix/test_metadata.py::test_hard_link",
        "tests/mount/posix/test_metadata.py::test_hard_link_counts",
    ),
    "A16": (
        "Extended attributes and ACLs are `EOPNOTSUPP`.",
        "tests/mount/posix/test_metadata.py::test_extended_attributes_are_refused_cleanly",
    ),
    "A17": (
        "`statfs` shows the server's figures (statvfs@openssh.com); without the extension all sizes are 0, "
        "none is invented.",
        "tests/mount/posix/test_metadata.py::test_statvfs_equals_the_backing_filesystem",
    ),
    "A21": (
        "Files of different seconds keep their order, and a file that is newer by whole seconds is also "
        "shown as newer.",
        "tests/unit/vfs/test_tree.py::test_fractions_of_some_files_alone_turn_the_order_within_a_second",
    ),
    "A18": (
        "If `chmod` takes permission away, the server has the new mode when it returns, so that what is "
        "written next is protected there as here.",
        "tests/mount/prefetch/test_round_trips_piggyback.py::test_permission_is_taken_away_at_once",
    ),
    "O1": (
        "With `idmap=user` (the default) the login's own uid and gid on the server show as the mounting "
        "user's, and all others as the server's numbers.",
        "tests/mount/test_idmap_name.py::test_a_note_says_who_will_own_what_is_created",
        "tests/mount/test_confined_login.py::test_a_home_that_is_another_ones_is_told_by_the_servers_process",
        "tests/unit/vfs/test_id_map.py::test_user_mapping_swaps_the_logins_ids_and_leaves_others",
        "tests/unit/vfs/test_id_map.py::test_a_file_it_made_tells_who_the_login_is_where_its_home_is_not"
        "_its_own",
    ),
    "O13": (
        "Where the home is root's and there is no /proc, as for an account that sshd confines "
        "(ChrootDirectory), sftpfs looks for the login among the owners of the mounted directory and of "
        "what is in it.",
        "tests/mount/test_confined_login.py::test_ones_own_files_can_be_written_before_any_was_made",
        "tests/mount/test_confined_login.py::test_names_tell_where_the_server_has_them",
        "tests/mount/test_confined_login.py::test_nothing_is_tried_where_the_kernel_does_not_judge",
        "tests/mount/test_confined_login.py::test_who_cannot_be_told_is_nobody_and_a_line_says_so",
    ),
    "O2": (
        "`idmap=none` shows the server's numbers.",
        "tests/mount/test_mount_options.py::test_idmap_none_shows_the_servers_ids",
    ),
    "O3": (
        "`idmap=file` maps by `uidfile` and `gidfile`, and `chown` maps back; an id they do not name is "
        "`EPERM` with `nomap=error` and shown as it is with `nomap=ignore`.",
        "tests/mount/test_mount_options.py::test_idmap_file_translates_both_ways",
        "tests/unit/vfs/test_id_map.py::test_an_unmapped_id_is_an_error_where_asked_for",
    ),
    "O10": (
        "With `idmap=name` files of a user or group of the server show as those of the user or group here "
        "that has the same name, and `chown` maps back.",
        "tests/mount/test_idmap_name.py::test_owners_are_shown_by_name",
        "tests/mount/test_idmap_name.py::test_chown_goes_back_by_name",
        "tests/mount/test_idmap_name.py::test_unmapped_owners_are_an_error_where_asked_for",
        "tests/mount/test_idmap_name.py::test_names_are_asked_for_once",
    ),
    "O11": (
        "A `chown` to a number that belongs to somebody else on the server is `EPERM`:",
        "tests/mount/test_idmap_name.py::test_a_number_that_is_somebody_elses_there_is_refused",
    ),
    "O12": (
        "If files created here will belong to somebody else than the mounting user, a line says so at "
        "the mount.",
        "tests/mount/test_idmap_name.py::test_a_note_says_who_will_own_what_is_created",
    ),
    "O4": (
        "`uid=`, `gid=` and `umask=` show every file so, and change nothing on the server.",
        "tests/mount/test_mount_options.py::test_uid_gid_and_umask",
    ),
    "O6": (
        "Without `allow_other` only the mounting user enters, and the server alone decides what the login "
        "may do.",
        "tests/mount/test_mount_options.py::test_another_user_is_kept_out",
    ),
    "O7": (
        "With `allow_other` the kernel checks mode bits as well (`default_permissions`).",
        "tests/mount/test_mount_options.py::test_allow_other_lets_in_by_the_permission_bits",
        "tests/mount/posix/test_users.py::test_each_may_do_what_he_may_locally",
    ),
    "O8": (
        "A read-only mount refuses every change with `EROFS`.",
        "tests/mount/test_mount_options.py::test_read_only",
    ),
    "O9": (
        "`access` answers from the mode bits and what is known of the login; the server decides when the "
        "file is used.",
        "tests/mount/posix/test_metadata.py::test_access",
    ),
    "M1": (
        "Private and shared maps work, reading and writing; `msync` hands pages to the kernel, `close` and "
        "`fsync` wait for the server.",
        "tests/mount/posix/test_files.py::test_shared_memory_map",
    ),
    "Z1": ("255 bytes", "tests/mount/posix/test_names.py::test_a_name_of_256_bytes_is_enametoolong"),
    "Z2": (
        "4095 bytes",
        "tests/mount/posix/test_names.py::test_a_path_past_the_servers_limit_is_enametoolong",
    ),
    "Y1": (
        "Between two files of one mount the server copies, and their content does not travel.",
        "tests/mount/control/test_cp.py::test_content_does_not_travel",
        "tests/mount/control/test_cp.py::test_a_tree",
    ),
    "Y2": (
        "If the server has no copy-data, or refuses it, and between a mount and anything else, `sftpfs "
        "cp` reads and writes here.",
        "tests/mount/control/test_cp.py::test_a_server_without_copy_data",
        "tests/mount/control/test_cp.py::test_a_server_that_refuses",
        "tests/mount/control/test_cp.py::test_into_a_mount_out_of_it_and_between_two",
    ),
    "Y3": (
        "What was written to the source before is in the copy, acknowledged or not; and the source is "
        "copied as it is on the server, whatever the leases say: its names, types and modes too.",
        "tests/mount/test_cp_careful.py::test_names_types_and_modes_are_those_of_the_server",
        "tests/mount/control/test_cp.py::test_unsent_data_of_the_source_is_copied",
        "tests/mount/control/test_cp.py::test_a_source_that_changed_on_the_server",
    ),
    "Y4": (
        "When the command ends, every program here sees the copy, also one that has the destination "
        "open: its size, its times and its bytes.",
        "tests/mount/control/test_cp.py::test_content_does_not_travel",
    ),
    "Y5": (
        "Mode and times are kept, of directories too, and links are copied as links with `-r`.",
        "tests/mount/control/test_cp.py::test_a_tree",
        "tests/mount/test_cp_oracle.py::test_as_cp",
        "tests/mount/test_cp_careful.py::test_a_file_of_another_user_on_a_server",
    ),
    "Y6": (
        "An existing destination gets the new content and stays the file it is, as with cp.",
        "tests/mount/control/test_cp.py::test_names_linked_on_the_server_copied_onto_each_other",
        "tests/mount/test_cp_careful.py::test_names_linked_on_the_server_are_written_one_after_the_other",
    ),
    "Y7": (
        "A file that could not be copied to its end, because of an error or Ctrl-C, is removed, also if "
        "there was one before.",
        "tests/mount/control/test_cp.py::test_an_interrupted_copy_leaves_nothing",
        "tests/mount/control/test_cp.py::test_a_full_disk_leaves_no_half_file",
        "tests/mount/test_cp_careful.py::test_half_a_file_that_cannot_be_removed_is_named",
    ),
    "Y8": (
        "A copy outlives the loss of its connection: it goes on from where it was.",
        "tests/mount/control/test_cp.py::test_a_copy_outlives_its_connection",
    ),
    "Y9": (
        "A directory is not copied into itself, nor a file onto itself.",
        "tests/mount/control/test_cp.py::test_what_is_refused",
        "tests/mount/test_cp_careful.py::test_no_link_to_a_directory_is_followed_below_the_destination",
    ),
    "Y10": (
        "A file that changes while it is copied is copied again, once.",
        "tests/mount/test_cp_careful.py::test_a_file_that_changes_all_the_time_is_told_and_does_not_look_current",
        "tests/mount/test_cp_careful.py::test_a_file_that_changed_once_is_copied_again",
    ),
    "Y11": (
        "A file counts as copied once the server has acknowledged its bytes, its mode and times, and has "
        "closed it without an error.",
        "tests/mount/control/test_cp_tree.py::test_what_the_server_refuses_as_it_is_closed",
        "tests/mount/control/test_cp_tree.py::test_each_failure_is_its_own",
        "tests/mount/control/test_cp_tree.py::test_a_full_disk_leaves_whole_files",
        "tests/mount/control/test_cp_tree.py::test_a_lost_connection_is_survived",
    ),
    "Y12": (
        "A name is made by one only, also if a program makes it here at the same moment.",
        "tests/mount/control/test_cp_tree.py::test_a_program_works_in_what_is_being_made",
        "tests/unit/vfs/test_path_requests.py::test_two_changes_of_one_name_follow_each_other",
    ),
    "Y13": (
        "A name that was missing for a program is there for it once the command has ended; a file that it "
        "opened meanwhile then shows all of its content.",
        "tests/mount/control/test_cp_tree.py::test_everything_is_as_it_was_and_seen_at_once",
        "tests/mount/control/test_cp_tree.py::test_a_program_works_in_what_is_being_made",
    ),
    "Y14": (
        "If the command is interrupted, killed too, the mount begins nothing more, and removes what is "
        "not whole.",
        "tests/mount/control/test_cp_tree.py::test_an_interrupted_copy_leaves_whole_files",
    ),
    "Y15": (
        "If the server is away for as long as `timeout=` says, the command ends: it names what was under "
        "way, and says that the rest was not copied.",
        "tests/mount/control/test_cp_tree.py::test_a_server_that_is_gone_ends_it",
    ),
}
