package fib

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore"
	"github.com/hyperfib/hyperfib/internal/fibcore/kernel"
	"github.com/hyperfib/hyperfib/internal/rtnl"
	"golang.org/x/sys/unix"
)

// owner is the shell around the core: the goroutine of Run. It alone reads and
// writes the kernel. The core is guarded by FIB.mu, held in short stretches and
// never across a system call.
type owner struct {
	fib    *FIB
	core   *fibcore.Core // fib.core
	io     kernel.Handles
	writer *rtnl.Writer
	buffer []byte // of reads
	behind bool   // not all notifications that have arrived were taken in
	steps  []func() error
	pumps  sync.WaitGroup
	once   sync.Once
}

func newOwner(f *FIB, h kernel.Handles) *owner {
	o := &owner{fib: f, core: f.core, io: h, writer: rtnl.NewWriter(h.Commands), buffer: make([]byte, rtnl.DatagramSize)}
	o.steps = o.order()
	return o
}

func (o *owner) lock()   { o.fib.mu.Lock() }
func (o *owner) unlock() { o.fib.mu.Unlock() }

// close closes the sockets, once.
func (o *owner) close() { o.once.Do(o.io.Close) }

// live is Run, with open sockets.
func (o *owner) live(parent context.Context) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	stop := context.AfterFunc(ctx, o.close)
	defer stop()
	err := o.run(ctx)
	o.close()
	cancel()
	o.pumps.Wait()
	if parent.Err() != nil {
		return nil // whatever the closing of the sockets did to who used them
	}
	return err
}

// run is the life of the owner.
func (o *owner) run(ctx context.Context) error {
	ready, resume := make(chan struct{}), make(chan struct{})
	o.pumps.Go(func() { o.listen(ctx, ready, resume) })
	touched := make(chan []kernel.SysctlWrite)
	if o.io.Sysctls != nil {
		o.pumps.Go(func() { o.listenSysctls(ctx, touched) })
	}
	if err := o.sync(); err != nil {
		return err
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	reading := false // the monitor pump waits for resume
	for {
		if err := ctx.Err(); err != nil {
			return nil
		}
		more, err := o.turn()
		if err != nil {
			return err
		}
		if more {
			continue
		}
		if reading {
			reading = false
			select {
			case resume <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
		}
		timer.Reset(o.delay(o.fib.now()))
		select {
		case <-ctx.Done():
			return nil
		case <-o.fib.wake:
		case <-ready:
			reading = true
		case writes := <-touched:
			o.sysctlWritten(writes)
		case <-timer.C:
		}
	}
}

// listen tells the owner when the monitor socket has something to read, and
// waits until it has read everything.
func (o *owner) listen(ctx context.Context, ready chan<- struct{}, resume <-chan struct{}) {
	for o.io.Monitor.Wait() == nil {
		select {
		case ready <- struct{}{}:
		case <-ctx.Done():
			return
		}
		select {
		case <-resume:
		case <-ctx.Done():
			return
		}
	}
}

func (o *owner) listenSysctls(ctx context.Context, touched chan<- []kernel.SysctlWrite) {
	for {
		writes, err := o.io.Sysctls.Wait()
		if err != nil {
			return
		}
		select {
		case touched <- writes:
		case <-ctx.Done():
			return
		}
	}
}

func (o *owner) sysctlWritten(writes []kernel.SysctlWrite) {
	o.lock()
	defer o.unlock()
	for _, w := range writes {
		o.core.SysctlTouched(o.io.Sysctls.Path(w))
	}
}

// delay is how long the owner may sleep.
func (o *owner) delay(now time.Time) time.Duration {
	o.lock()
	defer o.unlock()
	return max(o.core.Deadline().Sub(now), 0)
}

// turn does everything that can be done now, but at most one batch of routes.
// more says that another turn should follow at once.
func (o *owner) turn() (more bool, err error) {
	for _, step := range o.steps {
		if err := step(); err != nil {
			return false, err
		}
	}
	o.lock()
	defer o.unlock()
	p := o.core.Finish(o.fib.now())
	o.fib.settle(p)
	return p.More, nil
}

// order is what a turn consists of: what is urgent, then knowledge, then
// objects in the order of their dependence.
func (o *owner) order() []func() error {
	if o.fib.config.DryRun {
		return []func() error{o.listenNow, o.again, func() error {
			o.lock()
			o.core.AdoptOnly(o.fib.now())
			o.unlock()
			return nil
		}}
	}
	steps := []func() error{o.failover, o.listenNow, o.again, o.audit, o.writing(fibcore.StepUpkeep), o.writeSysctls}
	for s := fibcore.StepAddresses; s <= fibcore.StepRoutes; s++ {
		steps = append(steps, o.writing(s))
	}
	return steps
}

// writing makes a step of a turn that writes.
func (o *owner) writing(s fibcore.Step) func() error { return func() error { return o.write(s) } }

// failover writes what GatewayDown asks for, before everything else.
func (o *owner) failover() error { return o.write(fibcore.StepFailover) }

// write writes what the core has for a step.
func (o *owner) write(s fibcore.Step) error {
	w := o.writer
	for more := true; more; {
		w.Reset()
		o.lock()
		n := o.core.Plan(s, w, o.fib.now())
		o.unlock()
		if n == 0 {
			return nil
		}
		lost, err := w.Flush()
		if err != nil {
			return err
		}
		o.lock()
		more = o.core.Commit(s, w, lost, o.fib.now())
		o.unlock()
	}
	return nil
}

func (o *owner) writeSysctls() error {
	o.lock()
	todo, forgotten := o.core.TakeSysctls()
	o.unlock()
	for _, dir := range forgotten {
		o.io.Sysctls.Forget(dir)
	}
	if len(todo) == 0 {
		return nil // also of tests without a namespace
	}
	results := o.io.Sysctls.Apply(todo, o.fib.config.DryRun)
	now := o.fib.now()
	o.lock()
	defer o.unlock()
	for i, s := range todo {
		o.core.SysctlDone(s, results[i].Written, results[i].Err, now)
	}
	return nil
}

// mostDatagrams bounds what one turn reads: others may change the kernel's tables faster
// than this process can follow, and the owner must have its turn.
const mostDatagrams = 20000

// listenNow takes in all notifications that have arrived: nothing is written
// on older knowledge than that.
func (o *owner) listenNow() error {
	o.behind = false
	for range mostDatagrams {
		n, err := o.io.Monitor.Receive(o.buffer)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case err != nil && passing(err): // above all ENOBUFS
			o.lock()
			o.core.NotificationsLost()
			o.unlock()
		case err != nil:
			return err
		default:
			now := o.fib.now()
			o.lock()
			for m := range rtnl.Messages(o.buffer[:n]) {
				o.core.Notification(m, now)
			}
			o.unlock()
		}
	}
	o.behind = true
	return nil
}

// audit reads a slice of what is audited. An error of the socket ends the dump, not the audit.
func (o *owner) audit() error {
	if o.behind || o.io.Audits == nil {
		return nil
	}
	o.lock()
	unsettled := o.core.Unsettled(o.fib.now())
	o.unlock()
	if unsettled {
		if err := o.pass(); err != nil {
			return err
		}
	}
	o.lock()
	s := o.core.StartSlice(o.fib.now())
	o.unlock()
	if s == nil || o.behind {
		return nil
	}
	for {
		o.lock()
		request, more := s.Next(o.fib.now())
		urgent := o.core.Urgent()
		o.unlock()
		if urgent {
			if err := o.failover(); err != nil {
				return err
			}
		}
		if !more {
			break
		}
		var err error
		if request != nil {
			err = o.begin(request)
		}
		n := 0
		if err == nil {
			n, err = o.io.Audits.Receive(o.buffer)
		}
		if err != nil && broken(err) {
			return err
		}
		o.lock()
		s.Datagram(o.buffer[:n], err, o.fib.now())
		o.unlock()
	}
	o.lock()
	s.End(o.fib.now())
	o.unlock()
	return nil
}

// pass waits until the change that the kernel is making is over, and takes in what it has told: a
// request for one interface is answered under the lock that all changes are made under (RTNL).
func (o *owner) pass() error {
	request := rtnl.Begin(nil, rtnl.RTM_GETLINK, rtnl.NLM_F_REQUEST, 1)
	body := make([]byte, rtnl.SizeLink)
	binary.NativeEndian.PutUint32(body[4:], 1) // lo
	err := rtnl.Exchange(o.io.Dumps, rtnl.End(append(request, body...), 0), o.buffer, func(rtnl.Message) {})
	if err != nil && broken(err) {
		return err
	}
	return o.listenNow()
}

// begin sends the request of an audit's dump, after what a dump that broke off has left.
func (o *owner) begin(request []byte) error {
	for {
		if _, err := o.io.Audits.Receive(o.buffer); errors.Is(err, unix.EAGAIN) {
			return o.io.Audits.Send(request)
		} else if err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EMSGSIZE) {
			return err
		}
	}
}

// discard drops the notifications that have arrived.
func (o *owner) discard() error {
	for {
		if _, err := o.io.Monitor.Receive(o.buffer); errors.Is(err, unix.EAGAIN) {
			return nil
		} else if err != nil && !passing(err) {
			return err
		}
	}
}

// sync reads everything for the first time.
func (o *owner) sync() error {
	if err := o.discard(); err != nil {
		return err
	}
	o.lock()
	r := o.core.StartFirstReading(o.fib.now())
	o.unlock()
	return o.read(r)
}

// again reads anew what has become unclear.
func (o *owner) again() error {
	o.lock()
	r := o.core.StartReading(o.fib.now())
	o.unlock()
	if r == nil {
		return nil
	}
	if !r.Whole() {
		return o.read(r)
	}
	if err := o.listenNow(); err != nil {
		return err
	}
	if err := o.read(r); err != nil {
		return err
	}
	return o.listenNow() // a million routes take a second: objects were read long ago
}

// read reads what r asks for. An error that is not of a socket ends nothing, but of the
// first reading: it is reported, and reading is tried again.
func (o *owner) read(r *fibcore.Reading) error {
	for {
		o.lock()
		request := r.Next(o.fib.now())
		o.unlock()
		if request == nil {
			return nil
		}
		outcome, err := o.dump(r, request)
		if err != nil && broken(err) {
			return err
		}
		o.lock()
		err = r.End(outcome, err, o.fib.now())
		o.unlock()
		if err != nil {
			return err
		}
	}
}

// passes is how often an interrupted dump is begun again at once.
const passes = 3

// dump dumps and feeds the core, under its lock a datagram at a time, every pass over
// an interrupted dump anew. Urgent deletions go out between datagrams: a big table must
// not delay a failover. It returns how the last pass ended; an error that passes, such as
// ENOMEM, is not returned.
func (o *owner) dump(r *fibcore.Reading, request []byte) (end fibcore.Outcome, err error) {
	for range passes {
		o.lock()
		r.Pass()
		o.unlock()
		end = fibcore.Complete
		err := o.io.Dumps.Dump(request, o.buffer, func(b []byte) (bool, error) {
			now := o.fib.now()
			o.lock()
			done, interrupted, err := rtnl.WalkDump(b, func(m rtnl.Message) { r.Row(m, now) })
			urgent := o.core.Urgent()
			o.unlock()
			if interrupted {
				end = fibcore.Interrupted
			}
			if err == nil && urgent {
				err = o.failover()
			}
			return done, err
		})
		switch {
		case err != nil && passing(err):
			end = fibcore.BrokenOff
		case err != nil:
			return fibcore.BrokenOff, err
		}
		if end == fibcore.Complete {
			break
		}
	}
	return end, nil
}

// passing reports whether an error of a socket says nothing about the next time.
func passing(err error) bool {
	for _, e := range []unix.Errno{unix.ENOBUFS, unix.ENOMEM, unix.EINTR, unix.EAGAIN, unix.EBUSY, unix.EMSGSIZE, unix.EMFILE, unix.ENFILE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// broken reports whether an error says that a socket is of no use any more.
func broken(err error) bool {
	return errors.Is(err, os.ErrClosed) || errors.Is(err, unix.EBADF) || errors.Is(err, unix.ENOTSOCK) || errors.Is(err, unix.ENOTCONN)
}
