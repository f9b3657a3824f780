/* Loaded into the program by LD_PRELOAD: notes what every write to a file of the data folder replaces,
   and what has been brought to the disk, so that afterwards the files can be made to what a power
   failure may have left of them.

   LOSING_POWER_LOG names the file of notes, LOSING_POWER_PART a part of the paths that are watched.
   With LOSING_POWER_IGNORES_SYNC nothing is ever brought to the disk, for the counter-test. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE = 1, TRUNCATE = 2, SYNC = 3 };

/* A note; `old` bytes follow it. */
struct note {
    uint64_t kind;
    uint64_t inode;
    /* A write's place; a truncation's new size; for a sync, how long the notes were when it began. */
    uint64_t offset;
    uint64_t length;
    /* The file's size before. */
    uint64_t size;
    uint64_t old;
};

static int notes = -1;
static const char *part;
static int ignores_sync;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("LOSING_POWER_LOG");
    part = getenv("LOSING_POWER_PART");
    ignores_sync = getenv("LOSING_POWER_IGNORES_SYNC") != NULL;
    if (path && part)
        notes = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* Whether a file is one of those, and what it is. */
static int watched(int file, struct stat *found) {
    char link[64], path[4096];
    ssize_t length;
    if (notes < 0 || fstat(file, found) != 0 || !S_ISREG(found->st_mode)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, part) != NULL;
}

static void write_note(struct note *note, void *old) {
    struct iovec parts[2] = {{note, sizeof *note}, {old, note->old}};
    ssize_t whole = (ssize_t)(sizeof *note + note->old);
    if (syscall(SYS_writev, notes, parts, 2) != whole) abort();
}

/* Notes a change, with the bytes of the file from `from` on that it replaces, at most `length`. A file
   that the program cannot read is read by a way of its own. */
static void note_change(int file, struct note note, uint64_t from, uint64_t length) {
    void *old = NULL;
    if (from < note.size) {
        char link[64];
        int again;
        note.old = note.size - from < length ? note.size - from : length;
        old = malloc(note.old);
        snprintf(link, sizeof link, "/proc/self/fd/%d", file);
        again = (int)syscall(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC);
        if (!old || again < 0) abort();
        if (syscall(SYS_pread64, again, old, note.old, from) != (ssize_t)note.old) abort();
        syscall(SYS_close, again);
    }
    write_note(&note, old);
    free(old);
}

static void note_write(int file, const struct stat *found, uint64_t offset, uint64_t length) {
    struct note note = {WRITE, (uint64_t)found->st_ino, offset, length, (uint64_t)found->st_size, 0};
    note_change(file, note, offset, length);
}

static ssize_t placed(int file, const void *bytes, size_t length, off64_t offset) {
    struct stat found;
    int was = errno;
    if (watched(file, &found)) note_write(file, &found, (uint64_t)offset, length);
    errno = was;
    return syscall(SYS_pwrite64, file, bytes, length, offset);
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t offset) {
    return placed(file, bytes, length, offset);
}

ssize_t pwrite(int file, const void *bytes, size_t length, off_t offset) {
    return placed(file, bytes, length, offset);
}

ssize_t write(int file, const void *bytes, size_t length) {
    struct stat found;
    int was = errno;
    if (file != notes && watched(file, &found)) {
        int flags = (int)syscall(SYS_fcntl, file, F_GETFL);
        off_t at = flags & O_APPEND ? found.st_size : (off_t)syscall(SYS_lseek, file, 0, SEEK_CUR);
        note_write(file, &found, (uint64_t)at, length);
    }
    errno = was;
    return syscall(SYS_write, file, bytes, length);
}

static int cut(int file, off64_t size) {
    struct stat found;
    int was = errno;
    if (watched(file, &found)) {
        struct note note = {TRUNCATE, (uint64_t)found.st_ino, (uint64_t)size, 0, (uint64_t)found.st_size, 0};
        note_change(file, note, (uint64_t)size, UINT64_MAX);
    }
    errno = was;
    return (int)syscall(SYS_ftruncate, file, size);
}

int ftruncate64(int file, off64_t size) { return cut(file, size); }
int ftruncate(int file, off_t size) { return cut(file, size); }

static int brought(int file, long call) {
    struct stat found, so_far;
    int result, is_watched = watched(file, &found);
    if (is_watched && ignores_sync) return 0;
    if (is_watched) fstat(notes, &so_far);
    result = (int)syscall(call, file);
    if (is_watched && result == 0) {
        struct note note = {SYNC, (uint64_t)found.st_ino, (uint64_t)so_far.st_size, 0, 0, 0};
        write_note(&note, NULL);
    }
    return result;
}

int fdatasync(int file) { return brought(file, SYS_fdatasync); }
int fsync(int file) { return brought(file, SYS_fsync); }
