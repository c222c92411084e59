"""A zoo of SFTP servers, and one core of checks that runs over each through a real mount.

``python -m tests.servers`` prints what comes of it. ``servers`` says how each is started, ``packages`` whence
it comes, ``checks`` what is done, ``judging`` what counts as right, ``traits`` what a server cannot.
"""
