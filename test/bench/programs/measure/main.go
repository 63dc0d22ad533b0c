// Command measure runs a program and tells what it and all its descendants cost.
//
// The result is one line of JSON on file descriptor 3. Wall time is from just before the program is started until the last
// of its descendants has ended; CPU time is what the kernel charged to all of them; the resident set is the peak of the
// largest of them. It is a process of its own, and a small one, because a child starts as a copy of its parent: started
// straight from a large process, it would be charged with that one's memory.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

type result struct {
	WallMicros int64 `json:"wallMicros"`
	CPUMicros  int64 `json:"cpuMicros"`
	PeakRSSKiB int64 `json:"peakRssKib"`
	// The program's own exit code; 128 and the signal's number when a signal ended it.
	ExitCode int `json:"exitCode"`
}

func main() {
	if len(os.Args) < 2 {
		fail("usage: measure PROGRAM [ARGUMENTS]")
	}
	// The kernel ties a child's parent-death signal to the thread that started it.
	runtime.LockOSThread()
	// The program ends with this process, and this process with the one that started it, however that ends.
	prctl(syscall.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL))
	const subreaper = 36 // PR_SET_CHILD_SUBREAPER: orphaned descendants become children of this process.
	prctl(subreaper, 1)

	program, err := exec.LookPath(os.Args[1])
	if err != nil {
		fail(err.Error())
	}
	started := time.Now()
	child, err := syscall.ForkExec(program, os.Args[1:], &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		fail(fmt.Sprintf("%s: %v", os.Args[1], err))
	}
	exitCode := 0
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			break
		}
		if pid == child {
			exitCode = status.ExitStatus()
			if status.Signaled() {
				exitCode = 128 + int(status.Signal())
			}
		}
	}
	wall := time.Since(started)
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &usage); err != nil {
		fail(err.Error())
	}
	cpu := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	line, _ := json.Marshal(result{wall.Microseconds(), cpu.Microseconds(), usage.Maxrss, exitCode})
	fmt.Fprintln(os.NewFile(3, "result"), string(line))
}

func prctl(option, value uintptr) {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, option, value, 0); errno != 0 {
		fail("prctl: " + errno.Error())
	}
}

func fail(why string) {
	fmt.Fprintln(os.Stderr, "measure:", why)
	os.Exit(1)
}
