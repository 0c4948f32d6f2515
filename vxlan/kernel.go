package vxlan

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// socket is what an FDB needs of rtnetlink: rtnl.Socket, or in tests a model of the kernel.
type socket interface {
	rtnl.Conn
	Port() uint32
	Ignore(ports ...uint32) error
	Close() error
}

// opener opens a socket in a namespace and subscribes to groups.
type opener func(netns string, groups ...uint32) (socket, error)

// monitorBuffer is the receive buffer, in octets of kernel memory, of a socket that hears notifications: those of some
// 80,000 entries. The kernel notifies us of the forwarding entries that we write, too, and if some are lost, all
// tables are read again, which takes longer than to write them.
const monitorBuffer = 32 << 20

func openSocket(netns string, groups ...uint32) (socket, error) {
	config := rtnl.Config{NetNS: netns}
	if len(groups) > 0 {
		config.ReceiveBuffer = monitorBuffer
	}
	s, err := rtnl.Open(config)
	if err != nil {
		return nil, fmt.Errorf("vxlan: %w", err)
	}
	if err := s.Join(groups...); err != nil {
		s.Close()
		return nil, fmt.Errorf("vxlan: %w", err)
	}
	return s, nil
}

// kernel is the conversation with the kernel. It is for one goroutine.
type kernel struct {
	config Config
	open   opener // for the namespace of the underlay
	conn   socket
	writer *rtnl.Writer // on conn
	seq    uint32       // of the last single request
	buffer []byte       // of its answer
}

func openKernel(config Config, open opener) (*kernel, error) {
	conn, err := open(config.NetNS)
	if err != nil {
		return nil, err
	}
	return &kernel{config: config, open: open, conn: conn, writer: rtnl.NewWriter(conn), seq: firstRequest, buffer: make([]byte, rtnl.DatagramSize)}, nil
}

// firstRequest is the sequence number before that of the first single request: far from
// those of the writer, which count from 1, so that no answer is taken for another's.
const firstRequest = 1 << 31

// request sends one request and calls each, which may be nil, for each message of the
// answer.
func (k *kernel) request(typ, flags uint16, body []byte, each func(rtnl.Message)) error {
	return k.exchange(k.conn, typ, flags, body, each)
}

// exchange is request on any socket.
func (k *kernel) exchange(s socket, typ, flags uint16, body []byte, each func(rtnl.Message)) error {
	k.seq++
	b := rtnl.Begin(nil, typ, rtnl.NLM_F_REQUEST|flags, k.seq)
	return rtnl.Exchange(s, rtnl.End(append(b, body...), 0), k.buffer, each)
}

// passes is how often an interrupted dump is begun again at once.
const passes = 3

// reading says which tables of an interface are read: those of which anything was ever desired.
type reading struct {
	forwards bool // what frames for a MAC do: its own forwarding table, and its bridge's
	resolves bool // neighbours
}

// snapshot is what the kernel has on an interface.
type snapshot struct {
	reading
	link    found
	entries []dumped
}

// read reads the interface ifindex. What was read of a device that has left its bridge meanwhile, or has come to another, says
// nothing: it may not have been among the ports.
func (k *kernel) read(ifindex int, what reading) (s snapshot, err error) {
	for range passes {
		if s, err = k.readOnce(ifindex, what); err != nil || s.link.bridge() == 0 {
			return s, err
		}
		link, err := k.lookupIndex(ifindex)
		if err != nil || link.bridge() == s.link.bridge() {
			return s, err
		}
	}
	return s, rtnl.ErrInterrupted
}

func (k *kernel) readOnce(ifindex int, what reading) (s snapshot, err error) {
	s.reading = what
	link, err := k.lookupIndex(ifindex)
	if err != nil {
		return s, err
	}
	s.link = *link
	switch {
	case what.forwards && s.link.bridge() != 0: // its own entries are among its bridge's and the other ports'
		of := rtnl.AppendUint32(nil, rtnl.NDA_MASTER, uint32(s.link.bridge()))
		s.entries, err = k.dump(rtnl.AF_BRIDGE, 0, of, func(e *dumped) bool { return e.Table == TableBridge || e.IfIndex == ifindex })
	case what.forwards:
		s.entries, err = k.dump(rtnl.AF_BRIDGE, ifindex, nil, func(e *dumped) bool { return e.IfIndex == ifindex })
	}
	if what.resolves && err == nil {
		var neighbors []dumped
		on := rtnl.AppendUint32(nil, rtnl.NDA_IFINDEX, uint32(ifindex))
		neighbors, err = k.dump(0, 0, on, func(e *dumped) bool { return e.Table == TableNeighbors && e.IfIndex == ifindex })
		s.entries = append(s.entries, neighbors...)
	}
	return s, err
}

// dump reads entries of a family and returns those that keep wants.
//
// With strict checking, ndm_ifindex names the port whose tables are dumped, its own and its part of its
// bridge's, and NDA_MASTER the bridge whose ports' are (net/core/rtnetlink.c, valid_fdb_dump_strict); of neighbours NDA_IFINDEX
// names the interface (net/core/neighbour.c, neigh_valid_dump_req). Other kernels than that would dump those of all.
func (k *kernel) dump(family byte, ifindex int, attributes []byte, keep func(*dumped) bool) (entries []dumped, err error) {
	body := make([]byte, rtnl.SizeNeighbor, rtnl.SizeNeighbor+len(attributes))
	body[0] = family
	native.PutUint32(body[4:], uint32(ifindex))
	body = append(body, attributes...)
	for range passes {
		entries = entries[:0]
		err = k.request(rtnl.RTM_GETNEIGH, rtnl.NLM_F_DUMP, body, func(m rtnl.Message) {
			if e, ok := parseEntry(m.Body, k.config.Protocol); ok && keep(&e) {
				entries = append(entries, e)
			}
		})
		if !errors.Is(err, rtnl.ErrInterrupted) {
			break
		}
	}
	return entries, err
}

// batch is how many messages one system call carries. The kernel works them off inside
// the call and queues a reply of up to 1 KiB of memory for each that fails; 200 fit
// the default receive buffer.
const batch = 200

// write carries out all changes and returns the failed ones by index. An error
// means that the socket itself failed; then all not known to have failed may have
// happened or not.
func (k *kernel) write(writes []write) (failed map[int]*Error, err error) {
	failed = make(map[int]*Error)
	w := k.writer
	for at := 0; at < len(writes); at += batch {
		part := writes[at:min(at+batch, len(writes))]
		w.Reset()
		for _, c := range part {
			w.Add(appendWrite(w.Buffer(), c, w.Seq(), k.config.Protocol))
		}
		if _, err := w.Flush(); err != nil {
			return failed, err
		}
		for i, c := range part {
			if e := refusal(c, w.Err(i)); e != nil {
				failed[at+i] = e
			}
		}
	}
	return failed, k.overLearned(writes, failed)
}

// overLearned writes neighbours that were refused because the kernel has an entry of its own making by now. It makes one for
// each address that it is to send a packet to, and does not notify one that has failed at once, as it does where nobody is asked
// (net/core/neighbour.c, __neigh_event_send, without mcast_solicit and app_solicit).
func (k *kernel) overLearned(writes []write, failed map[int]*Error) error {
	for i, e := range failed {
		if e.Entry.Table != TableNeighbors || !errors.Is(e, unix.EEXIST) || !k.learned(e.Entry) {
			continue
		}
		w := k.writer
		w.Reset()
		again := writes[i]
		again.op = opReplace
		w.Add(appendWrite(w.Buffer(), again, w.Seq(), k.config.Protocol))
		if _, err := w.Flush(); err != nil {
			return err
		}
		if delete(failed, i); w.Err(0) != nil {
			failed[i] = refusal(again, w.Err(0))
		}
	}
	return nil
}

// learned asks the kernel whether a neighbour is of its own making.
func (k *kernel) learned(e Entry) (yes bool) {
	body := make([]byte, rtnl.SizeNeighbor)
	body[0] = rtnl.AF_INET6
	if e.Addr.Is4() {
		body[0] = rtnl.AF_INET
	}
	native.PutUint32(body[4:], uint32(e.IfIndex))
	body = rtnl.AppendAddr(body, rtnl.NDA_DST, e.Addr)
	err := k.request(rtnl.RTM_GETNEIGH, 0, body, func(m rtnl.Message) {
		have, ok := parseEntry(m.Body, k.config.Protocol)
		yes = ok && have.origin == learned
	})
	return yes && err == nil
}

// refusal is what the kernel's answer means for a change; nil: it is done.
func refusal(c write, err error) *Error {
	switch {
	case err == nil:
		return nil
	case c.op == opDelete && (errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH)):
		return nil // gone already
	}
	e := wrap(c.op.String(), "", err)
	e.Entry = c.Entry
	if c.op == opAdd && errors.Is(err, unix.EEXIST) { // came in since we last looked
		e.Err = fmt.Errorf("%w: %w", ErrForeign, e.Err)
	}
	return e
}

// wrap makes an Error of err, which must not be nil, with the kernel's text apart.
func wrap(op, name string, err error) *Error {
	var e *rtnl.Error
	if errors.As(err, &e) {
		return &Error{Op: op, Interface: name, Text: e.Text, Err: e.Errno}
	}
	return &Error{Op: op, Interface: name, Err: err}
}
