/* Loaded into the program by LD_PRELOAD: while the file that FAILING_DISK names is there, nothing
   can be brought to the disk, as when the disk is broken. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fails(void) {
    const char *switched_on = getenv("FAILING_DISK");
    if (!switched_on || access(switched_on, F_OK) != 0) return 0;
    errno = EIO;
    return 1;
}

int fdatasync(int file) { return fails() ? -1 : (int)syscall(SYS_fdatasync, file); }
int fsync(int file) { return fails() ? -1 : (int)syscall(SYS_fsync, file); }
