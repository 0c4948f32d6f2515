package bfd

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmsghdr is struct mmsghdr of recvmmsg(2) and sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
	_   [4]byte
}

// The calls below never block and take no part in Go's scheduling: the owner
// keeps its processor while the kernel works for a few microseconds.

// recvmmsg receives up to len(m) messages. It returns 0 if none is waiting.
func recvmmsg(fd int, m []mmsghdr) (int, unix.Errno) {
	n, _, e := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), unix.MSG_DONTWAIT, 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), 0
}

// sendmmsg sends as many messages of m as the kernel takes before the first
// error, which it returns if it took none.
func sendmmsg(fd int, m []mmsghdr) (int, unix.Errno) {
	n, _, e := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), unix.MSG_DONTWAIT, 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), 0
}

// epollReady lists descriptors that have something to read, without waiting.
func epollReady(fd int, events []unix.EpollEvent) int {
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(fd), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	if e != 0 {
		return 0
	}
	return int(n)
}

// rest sleeps for d nanoseconds without giving the processor away. Sleeps of a
// millisecond, hundreds a second, cost more in Go's scheduler than in the kernel:
// its monitor takes the processor away each time and never comes to rest. If it
// wants us to stop, for a garbage collection, its signal ends the sleep.
func rest(d int64) {
	ts := unix.NsecToTimespec(d)
	_, _, _ = unix.RawSyscall6(unix.SYS_PPOLL, 0, 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
}

// wait sleeps for d nanoseconds, or until fd has something to read. This is the
// one call of the owner that gives its processor away.
func wait(fd int, d int64) {
	ts := unix.NsecToTimespec(d)
	p := unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	_, _, _ = unix.Syscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
}
