package vxlan

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// batch is how many messages one system call carries. The kernel works them off inside
// the call and queues a reply of up to 1 KiB of memory for each that fails; 200 fit
// the default receive buffer.
const batch = 200

// writer sends changes in batches. Only the last message of a batch asks to be
// acknowledged: the kernel reports failures of the others anyway, in order, before
// that one.
type writer struct {
	raw  syscall.RawConn
	seq  uint32
	buf  []byte
	recv [16 << 10]byte
}

func (w *writer) init(conn *netlink.Conn) (err error) {
	w.raw, err = conn.SyscallConn()
	w.seq = 1
	return err
}

// write carries out all changes and returns the failed ones by index. An error
// means that the socket itself failed; then all not known to have failed may have
// happened or not.
func (w *writer) write(writes []write) (failed map[int]*Error, err error) {
	failed = make(map[int]*Error)
	for at := 0; at < len(writes); at += batch {
		part := writes[at:min(at+batch, len(writes))]
		w.buf = w.buf[:0]
		first := w.seq
		for i, c := range part {
			w.buf = appendWrite(w.buf, c, w.seq, i == len(part)-1)
			w.seq++
		}
		if err := w.send(); err != nil {
			return failed, err
		}
		err := w.replies(first, w.seq-1, func(seq uint32, errno unix.Errno, text string) {
			c := part[seq-first]
			if c.op == opDelete && (errno == unix.ENOENT || errno == unix.ESRCH) {
				return // gone already
			}
			err := error(errno)
			if c.op == opAdd && errno == unix.EEXIST { // came in since we last looked
				err = fmt.Errorf("%w: %w", ErrForeign, errno)
			}
			failed[at+int(seq-first)] = &Error{Op: c.op.String(), Entry: c.Entry, Text: text, Err: err}
		})
		if err != nil {
			return failed, err
		}
	}
	return failed, nil
}

func (w *writer) send() (err error) {
	werr := w.raw.Write(func(fd uintptr) bool {
		err = unix.Sendto(int(fd), w.buf, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		return err != unix.EAGAIN
	})
	return errors.Join(werr, os.NewSyscallError("sendto", err))
}

// replies reads acknowledgements from sequence number first on until that of last,
// and reports the failures among them.
func (w *writer) replies(first, last uint32, fail func(seq uint32, errno unix.Errno, text string)) error {
	for {
		var n int
		var err error
		rerr := w.raw.Read(func(fd uintptr) bool {
			n, _, err = unix.Recvfrom(int(fd), w.recv[:], unix.MSG_DONTWAIT)
			return err != unix.EAGAIN
		})
		if err = errors.Join(rerr, os.NewSyscallError("recvfrom", err)); err != nil {
			return err
		}
		for b := w.recv[:n]; len(b) >= unix.SizeofNlMsghdr; {
			size := int(native.Uint32(b))
			if size < unix.SizeofNlMsghdr+4 || size > len(b) {
				return fmt.Errorf("reply of %d octets in a datagram of %d", size, len(b))
			}
			seq := native.Uint32(b[8:])
			if native.Uint16(b[4:]) == unix.NLMSG_ERROR && seq >= first && seq <= last {
				if errno, text := parseAck(b[:size]); errno != 0 {
					fail(seq, errno, text)
				}
				if seq == last {
					return nil
				}
			}
			b = b[min((size+3)&^3, len(b)):]
		}
	}
}

// parseAck reads struct nlmsgerr and the message among its attributes.
func parseAck(b []byte) (unix.Errno, string) {
	flags := native.Uint16(b[6:])
	errno := unix.Errno(-int32(native.Uint32(b[unix.SizeofNlMsghdr:])))
	if flags&unix.NLM_F_ACK_TLVS == 0 || len(b) < 2*unix.SizeofNlMsghdr+4 {
		return errno, ""
	}
	at := 2*unix.SizeofNlMsghdr + 4 // the failed message's header follows, and without CAPPED all of it
	if flags&unix.NLM_F_CAPPED == 0 {
		at = unix.SizeofNlMsghdr + 4 + (int(native.Uint32(b[unix.SizeofNlMsghdr+4:]))+3)&^3
	}
	for at >= 0 && at+4 <= len(b) {
		n, typ := int(native.Uint16(b[at:])), native.Uint16(b[at+2:])
		if n < 4 || at+n > len(b) {
			break
		}
		if typ == unix.NLMSGERR_ATTR_MSG {
			return errno, strings.TrimRight(string(b[at+4:at+n]), "\x00")
		}
		at += (n + 3) &^ 3
	}
	return errno, ""
}

// dump reads the forwarding entries of link.
func (f *FDB) dump(link int) ([]dumped, error) {
	req := make([]byte, unix.SizeofNdMsg)
	req[0] = unix.AF_BRIDGE
	native.PutUint32(req[4:], uint32(link))
	msgs, err := f.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETNEIGH, Flags: netlink.Request | netlink.Dump},
		Data:   req,
	})
	if err != nil {
		return nil, err
	}
	entries := make([]dumped, 0, len(msgs))
	for _, m := range msgs {
		if e, ok := parseEntry(m.Data); ok && e.IfIndex == link {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// execute sends one request and waits for its acknowledgement.
func (f *FDB) execute(typ uint16, flags netlink.HeaderFlags, payload []byte) error {
	_, err := f.query(typ, flags, payload)
	return err
}

func (f *FDB) query(typ uint16, flags netlink.HeaderFlags, payload []byte) ([]netlink.Message, error) {
	f.io.Lock()
	defer f.io.Unlock()
	return f.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(typ), Flags: flags},
		Data:   payload,
	})
}
