/*
 * The program that a cached image runs instead of its own, and the pause of a pod sandbox: static, without libc, so
 * that it starts in any image (scratch too) and costs a few kilobytes of memory. See README.md for its usage.
 */
#include "syscalls.h"

#include "duration.h"

#define DONE 0
#define FAILED 1
#define USAGE 255 /* KIP's exit code for a wrong command line */

#define COPY_BUFFER 32768
#define PATH_LIMIT 4096
#define NANOSECONDS 1000000000L

static void say(const char *text) {
  word length = 0;
  while (text[length]) length++;
  kernel(__NR_write, 2, (word)text, length, 0, 0);
}

static __attribute__((noreturn)) void usage(void) {
  say("usage: sleep DURATION   a Go duration (720h, 1.5h, 1h30m, 0s) or infinity\n"
      "       sleep copy FILE  puts a copy of this program at FILE\n");
  leave(USAGE);
}

static __attribute__((noreturn)) void fail(const char *what, const char *path, word error) {
  char digits[8];
  int at = sizeof digits;
  digits[--at] = 0;
  for (word rest = -error; at && (rest || at == sizeof digits - 1); rest /= 10) digits[--at] = '0' + rest % 10;
  say("sleep: cannot ");
  say(what);
  say(" ");
  say(path);
  say(": error ");
  say(digits + at);
  say("\n");
  leave(FAILED);
}

static __attribute__((noreturn)) void fail_copy(const char *what, const char *path, word error) {
  kernel(__NR_unlinkat, AT_FDCWD, (word)path, 0, 0, 0);
  fail(what, path, error);
}

/* The copy appears under its name whole or not at all: an image's container may be started while it is written. */
static __attribute__((noreturn)) void copy_to(const char *path) {
  static char buffer[COPY_BUFFER];
  static char temporary[PATH_LIMIT];
  word length = 0;
  while (path[length]) {
    temporary[length] = path[length];
    if (++length > PATH_LIMIT - 5) fail("write", path, -ENAMETOOLONG);
  }
  for (const char *suffix = ".new"; *suffix; suffix++) temporary[length++] = *suffix;

  word in = kernel(__NR_openat, AT_FDCWD, (word) "/proc/self/exe", O_RDONLY | O_CLOEXEC, 0, 0);
  if (in < 0) fail("read", "/proc/self/exe", in);
  word flags = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC;
  word out = kernel(__NR_openat, AT_FDCWD, (word)temporary, flags, 0755, 0);
  if (out < 0) fail("write", temporary, out);
  for (;;) {
    word got = kernel(__NR_read, in, (word)buffer, sizeof buffer, 0, 0);
    if (got == 0) break;
    if (got < 0) fail_copy("read itself for", temporary, got);
    for (word put = 0; put < got;) {
      word wrote = kernel(__NR_write, out, (word)buffer + put, got - put, 0, 0);
      if (wrote <= 0) fail_copy("write", temporary, wrote);
      put += wrote;
    }
  }
  word error = kernel(__NR_fchmod, out, 0755, 0, 0, 0); /* whatever the umask made of it */
  if (error < 0) fail_copy("make executable", temporary, error);
  error = kernel(__NR_renameat2, AT_FDCWD, (word)temporary, AT_FDCWD, (word)path, 0);
  if (error < 0) fail_copy("rename", temporary, error);
  leave(DONE);
}

/*
 * Signals that end nothing: a child's end, and those whose default is to stop or continue a process. SIGWINCH is not
 * among them: a container is stopped by the STOPSIGNAL of its image, and httpd images name SIGWINCH (nginx: SIGQUIT).
 */
static int harmless(word signal) {
  return signal == SIGCHLD || signal == SIGCONT || signal == SIGURG || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

static word now(void) {
  struct __kernel_timespec time = {0, 0};
  kernel(__NR_clock_gettime, 1 /* CLOCK_MONOTONIC */, (word)&time, 0, 0, 0);
  return time.tv_sec * NANOSECONDS + time.tv_nsec;
}

static __attribute__((noreturn)) void wait_for(word duration) {
  unsigned long every = ~0UL;
  kernel(__NR_rt_sigprocmask, SIG_BLOCK, (word)&every, 0, sizeof every, 0);
  word end = 0;
  if (duration != FOREVER && __builtin_add_overflow(now(), duration, &end)) duration = FOREVER;
  for (;;) {
    while (kernel(__NR_wait4, -1, 0, 1 /* WNOHANG */, 0, 0) > 0) continue;
    struct __kernel_timespec left = {0, 0};
    if (duration != FOREVER) {
      word rest = end - now();
      if (rest < 0) rest = 0;
      left.tv_sec = rest / NANOSECONDS;
      left.tv_nsec = rest % NANOSECONDS;
    }
    word timeout = duration == FOREVER ? 0 : (word)&left;
    word signal = kernel(__NR_rt_sigtimedwait, (word)&every, 0, timeout, sizeof every, 0);
    if (signal == -EAGAIN) leave(DONE);
    if (signal > 0 && !harmless(signal)) leave(DONE);
    if (signal < 0 && signal != -EINTR) fail("wait for", "signals", signal); /* not in a busy loop */
  }
}

static void start(word *stack) {
  word count = stack[0];
  char **words = (char **)(stack + 1);
  if (count == 3 && equal(words[1], "copy") && *words[2]) copy_to(words[2]);
  if (count != 2) usage();
  word duration = read_duration(words[1]);
  if (duration == NOT_A_DURATION) {
    say("sleep: not a duration: ");
    say(words[1]);
    say("\n");
    usage();
  }
  wait_for(duration);
}
