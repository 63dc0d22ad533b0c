/*
 * How a program without libc enters the kernel, for each processor that kip's images are published for. Numbers,
 * flags and structures come from the kernel's own headers (Debian's linux-libc-dev).
 */
#ifndef KIP_SYSCALLS_H
#define KIP_SYSCALLS_H

#include <asm/signal.h>
#include <asm/unistd.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/time_types.h>

typedef long word;

/* The kernel starts a process with argc, argv and the environment on the stack: `start` gets its address. */
__attribute__((used, noreturn)) static void start(word *stack);

#if defined(__x86_64__)

__asm__(".globl _start\n_start: xor %ebp, %ebp; mov %rsp, %rdi; and $-16, %rsp; call start\n");

static inline word kernel(word number, word a, word b, word c, word d, word e) {
  word result;
  register word r10 __asm__("r10") = d;
  register word r8 __asm__("r8") = e;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                   : "rcx", "r11", "memory");
  return result;
}

#elif defined(__aarch64__)

__asm__(".globl _start\n_start: mov x29, #0; mov x30, #0; mov x0, sp; b start\n");

static inline word kernel(word number, word a, word b, word c, word d, word e) {
  register word x8 __asm__("x8") = number;
  register word x0 __asm__("x0") = a;
  register word x1 __asm__("x1") = b;
  register word x2 __asm__("x2") = c;
  register word x3 __asm__("x3") = d;
  register word x4 __asm__("x4") = e;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory", "cc");
  return x0;
}

#elif defined(__powerpc64__)

/* ELFv2: the kernel leaves the entry's address in r12, from which r2 (the table of contents) follows. */
__asm__(".globl _start\n"
        "_start: 0: addis 2, 12, .TOC.-0b@ha; addi 2, 2, .TOC.-0b@l\n"
        "mr 3, 1; li 0, 0; stdu 0, -128(1); bl start; nop\n");

/* Failure is the summary-overflow bit of cr0, with the error number positive. */
static inline word kernel(word number, word a, word b, word c, word d, word e) {
  register word r0 __asm__("r0") = number;
  register word r3 __asm__("r3") = a;
  register word r4 __asm__("r4") = b;
  register word r5 __asm__("r5") = c;
  register word r6 __asm__("r6") = d;
  register word r7 __asm__("r7") = e;
  __asm__ volatile("sc; bns+ 1f; neg %1, %1; 1:"
                   : "+r"(r0), "+r"(r3), "+r"(r4), "+r"(r5), "+r"(r6), "+r"(r7)
                   :
                   : "r8", "r9", "r10", "r11", "r12", "cr0", "ctr", "xer", "memory");
  return r3;
}

#elif defined(__s390x__)

__asm__(".globl _start\n_start: lgr %r2, %r15; aghi %r15, -160; xc 0(8,%r15), 0(%r15); jg start\n");

static inline word kernel(word number, word a, word b, word c, word d, word e) {
  register word r1 __asm__("r1") = number;
  register word r2 __asm__("r2") = a;
  register word r3 __asm__("r3") = b;
  register word r4 __asm__("r4") = c;
  register word r5 __asm__("r5") = d;
  register word r6 __asm__("r6") = e;
  __asm__ volatile("svc 0" : "+r"(r2) : "r"(r1), "r"(r3), "r"(r4), "r"(r5), "r"(r6) : "memory");
  return r2;
}

#else
#error "sleep knows amd64, arm64, ppc64le and s390x: add the processor's system call here"
#endif

static __attribute__((noreturn)) void leave(int code) {
  for (;;) kernel(__NR_exit_group, code, 0, 0, 0, 0);
}

#endif
