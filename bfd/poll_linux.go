package bfd

import (
	"encoding/binary"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// epoller is the poller of Linux. But for waiting, its calls never block and take no
// part in Go's scheduling: the owner keeps its processor while the kernel works for a few
// microseconds.
type epoller struct {
	epoll, bell int                 // bell: an eventfd
	events      [16]unix.EpollEvent // what epoll_pwait fills
}

func newEpoller() (*epoller, error) {
	p := &epoller{}
	var err error
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if p.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		unix.Close(p.epoll)
		return nil, os.NewSyscallError("eventfd", err)
	}
	if err := p.watch(p.bell); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *epoller) close() {
	unix.Close(p.epoll)
	unix.Close(p.bell)
}

func (p *epoller) watch(fd int) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}))
}

func (p *epoller) wake() {
	one := binary.NativeEndian.AppendUint64(make([]byte, 0, 8), 1)
	_, _ = unix.Write(p.bell, one)
}

func (p *epoller) poll(ready []int, d time.Duration) (int, error) {
	events := p.events[:min(len(p.events), len(ready))]
	n, err := p.wait(events, d)
	for i := range events[:n] {
		ready[i] = int(events[i].Fd)
		if ready[i] == p.bell {
			var b [8]byte
			_, _, _ = unix.RawSyscall(unix.SYS_READ, uintptr(p.bell), uintptr(unsafe.Pointer(&b[0])), 8)
			ready[i] = -1
		}
	}
	return n, err
}

// wait is epoll_pwait2(2), made of ppoll(2) and epoll_pwait(2): kernels before 5.11 lack it,
// and seccomp filters of that age refuse it.
func (p *epoller) wait(events []unix.EpollEvent, d time.Duration) (int, error) {
	if d > 0 {
		// Of all calls this one may hand the processor to other goroutines.
		ts, fd := unix.NsecToTimespec(int64(d)), unix.PollFd{Fd: int32(p.epoll), Events: unix.POLLIN}
		_, _, _ = unix.Syscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fd)), 1, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	switch errno {
	case 0:
		return int(n), nil
	case unix.EINTR:
		return 0, nil
	}
	return 0, os.NewSyscallError("epoll_pwait", errno)
}

// rest sleeps without giving the processor away. Sleeps of a millisecond, hundreds a
// second, cost more in Go's scheduler than in the kernel: its monitor takes the processor
// away each time and never comes to rest. If it wants us to stop, for a garbage
// collection, its signal ends the sleep.
func (p *epoller) rest(d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	_, _, _ = unix.RawSyscall6(unix.SYS_PPOLL, 0, 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
}

func (p *epoller) receive(fd int, m []mmsghdr) (int, unix.Errno) {
	n, _, e := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), unix.MSG_DONTWAIT, 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), 0
}

func (p *epoller) send(fd int, m []mmsghdr) (int, unix.Errno) {
	n, _, e := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), unix.MSG_DONTWAIT, 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), 0
}
