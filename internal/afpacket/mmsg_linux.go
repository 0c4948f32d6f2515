package afpacket

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmsghdr is struct mmsghdr of recvmmsg(2); Go's alignment rules add C's padding.
type mmsghdr struct {
	hdr unix.Msghdr // the message
	len uint32      // octets received or sent
}

// controlLen holds a time stamp: a cmsghdr and 16 octets.
const controlLen = 32

// ring is a set of message headers with everything they point to.
type ring struct {
	msgs    []mmsghdr                   // they point into the following
	iovs    []unix.Iovec                // each points to one of bufs
	names   []unix.RawSockaddrLinklayer // the interface of each frame, and its packet type
	control [][controlLen]byte          // of which each begins at a multiple of 8
	bufs    [][]byte                    // one a frame
}

// newRing makes n messages; those to receive have buffers of size octets and
// room for control data, those to send (size 0) have neither.
func newRing(n, size int) *ring {
	r := &ring{
		msgs:  make([]mmsghdr, n),
		iovs:  make([]unix.Iovec, n),
		names: make([]unix.RawSockaddrLinklayer, n),
	}
	if size > 0 {
		r.control = make([][controlLen]byte, n)
		r.bufs = make([][]byte, n)
		all := make([]byte, n*size)
		for i := range r.bufs {
			r.bufs[i] = all[i*size : (i+1)*size : (i+1)*size]
		}
	}
	for i := range r.msgs {
		h := &r.msgs[i].hdr
		h.Iov = &r.iovs[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&r.names[i]))
		h.Namelen = unix.SizeofSockaddrLinklayer
	}
	return r
}

// arm prepares message i for the kernel to receive into, with its time stamp.
func (r *ring) arm(i int) {
	h := &r.msgs[i].hdr
	r.iovs[i].Base = &r.bufs[i][0]
	r.iovs[i].SetLen(len(r.bufs[i]))
	h.Namelen = unix.SizeofSockaddrLinklayer
	h.Control = &r.control[i][0]
	h.SetControllen(controlLen)
}

// received returns when the kernel received message i, which was read at now, on the clock that no
// one sets: the stamp is of the other one, and is taken for what it says of the message's age. Without
// a stamp that is 0.
func (r *ring) received(i int, now time.Time) time.Time {
	const head, size = unix.SizeofCmsghdr, unsafe.Sizeof(unix.Timespec{})
	c := (*unix.Cmsghdr)(unsafe.Pointer(&r.control[i]))
	if uintptr(r.msgs[i].hdr.Controllen) < head+size || c.Level != unix.SOL_SOCKET || c.Type != unix.SCM_TIMESTAMPNS {
		return now
	}
	ts := (*unix.Timespec)(unsafe.Pointer(&r.control[i][head]))
	return now.Add(-now.Sub(time.Unix(ts.Unix())))
}

// recvmmsg receives without waiting. With MSG_TRUNC len is the length of the frame, also if
// the buffer is shorter (packet(7)).
func recvmmsg(fd int, msgs []mmsghdr) (int, unix.Errno) {
	n, _, e := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&msgs[0])), uintptr(len(msgs)), unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
	return int(n), e
}

// sendmmsg sends without waiting. It ends at the first message that is refused, and returns
// its error only if it is the first of all (sendmmsg(2)).
func sendmmsg(fd int, msgs []mmsghdr) (int, unix.Errno) {
	n, _, e := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&msgs[0])), uintptr(len(msgs)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), e
}
