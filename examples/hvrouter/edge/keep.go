package edge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/hvrouter/overlay"
	"github.com/hyperfib/hyperfib/internal/brake"
	"github.com/hyperfib/hyperfib/internal/netns"
)

// plan is what an overlay shall have in the kernel besides its interfaces, and what package vxlan writes.
type plan struct {
	bridge int
	links  map[int]settings // of the bridge and its ports, by index
	// guests are the ports of the guests that are here; nil: it is not known yet, and what an earlier run has put there stays.
	guests map[overlay.MAC]int
	quiet  []int        // ports of guests, from which the bridge does not learn
	ours   []netip.Addr // addresses of the gateway, on the bridge
}

// Repair is something of an overlay that another program had changed, and that was put back.
type Repair struct {
	Kind      string // forwarding, of an entry of the bridge, or overlay, of a setting
	Op        string // add, replace, or set
	Key       string // what it is
	Interface string
	// Difference says that the audit has found it, and no notification had told: missing or changed; "" is told by one.
	Difference string
	Contended  bool // another program undoes each repair: from now on they are delayed
}

// keeper keeps overlays as they are planned: what differs is put back when the kernel notifies it, and by an audit that reads
// everything again, a bit at a time. Whatever a plan covers is written by the keeper alone, which knows therefore that
// what differs is another program's doing.
type keeper struct {
	links    *linkSetter
	monitor  *netlink.Conn
	round    time.Duration // of the audit; 0: never
	repaired func(context.Context, Repair)
	failed   func(overlay string, err error)

	mu       sync.Mutex // guards what follows, and is held while something is compared and written
	plans    map[string]*kept
	due      map[subject]string // what is to be compared, and the difference that the audit has found
	suspects map[subject]string // what the audit has found, and a notification may still tell
	fence    uint32             // sequence number of the last one
	brakes   brake.Table[subject]
	refusals map[subject]error // what is not as it shall be, and why
	told     map[string]string // the last of them that failed was called with, by overlay
	wake     chan struct{}     // capacity 1: something is due
}

// kept is an overlay that is kept.
type kept struct {
	plan
	placed map[overlay.MAC]int // where the keeper has put guests' entries; nil: not known
	paused bool                // it is being brought in line: set ends that
}

// subject is what is compared at once: an interface's settings, or the entry of a guest. With neither it is what an earlier run
// has left on the bridge.
type subject struct {
	overlay string
	link    int // 0: the entry
	mac     overlay.MAC
}

// settleTime lies between a notification and the comparison, so that a burst of them costs one.
const settleTime = 20 * time.Millisecond

func newKeeper(links *linkSetter) *keeper {
	return &keeper{links: links, plans: map[string]*kept{}, due: map[subject]string{}, suspects: map[subject]string{}, brakes: brake.Table[subject]{},
		refusals: map[subject]error{}, told: map[string]string{}, wake: make(chan struct{}, 1)}
}

func openKeeper(path string, links *linkSetter) (*keeper, error) {
	k := newKeeper(links)
	err := netns.Do(path, func() (err error) {
		k.monitor, err = netlink.Dial(unix.NETLINK_ROUTE, nil)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("overlays: %w", err)
	}
	for _, group := range []uint32{unix.RTNLGRP_LINK, unix.RTNLGRP_NEIGH, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR} {
		if err := k.monitor.JoinGroup(group); err != nil {
			k.monitor.Close()
			return nil, fmt.Errorf("overlays: %w", err)
		}
	}
	_ = k.monitor.SetReadBuffer(1 << 20) // with a smaller one more is read again
	return k, nil
}

func (k *keeper) close() { k.monitor.Close() }

// pause ends the keeping of an overlay until it is set again: its interfaces are being brought in line.
func (k *keeper) pause(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if o := k.plans[name]; o != nil {
		o.paused = true
	}
}

// set makes p what an overlay shall have, and writes what is new in it. What the ports joined had is gone. What the kernel
// refuses is tried again, and until then refused returns it.
func (k *keeper) set(name string, p plan, joined []int) {
	k.mu.Lock()
	k.plan(name, p, joined)
	fresh := k.fresh(name)
	k.mu.Unlock()
	if fresh != nil {
		k.failed(name, fresh)
	}
}

func (k *keeper) plan(name string, p plan, joined []int) {
	old := k.plans[name]
	if old == nil {
		old = &kept{}
	}
	next := &kept{plan: p, placed: old.placed}
	if old.bridge != p.bridge {
		next.placed = nil
	}
	k.plans[name] = next
	if !slices.Equal(old.ours, p.ours) || old.bridge != p.bridge { // the addresses may be there already
		k.due[subject{overlay: name, link: p.bridge}] = ""
		k.poke()
	}
	maps.DeleteFunc(k.refusals, func(s subject, _ error) bool {
		_, still := p.links[s.link]
		return s.overlay == name && s.link != 0 && !still
	})
	for index, want := range p.links {
		if old.paused || slices.Contains(joined, index) || !maps.Equal(old.links[index], want) {
			_, _, err := k.bring(next, index)
			k.note(subject{overlay: name, link: index}, err)
		}
	}
	if p.guests == nil {
		next.guests = old.guests
		return
	}
	if old.paused { // what was notified meanwhile was not looked at
		for mac := range p.guests {
			k.due[subject{overlay: name, mac: mac}] = ""
		}
		k.poke()
	}
	k.note(subject{overlay: name}, k.place(name, next, joined))
}

// drop ends the keeping of an overlay. With empty, what it has told the bridge of guests is taken back, and the bridge learns
// again.
func (k *keeper) drop(name string, empty bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	o := k.plans[name]
	delete(k.plans, name)
	delete(k.told, name)
	maps.DeleteFunc(k.refusals, func(s subject, _ error) bool { return s.overlay == name })
	if o == nil || !empty {
		return nil
	}
	var errs []error
	for mac, port := range o.placed {
		errs = append(errs, k.links.unplace(mac, port))
	}
	for _, port := range o.quiet {
		if err := k.links.set(port, learning(true)); err != nil && !gone(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// again has something that could not be written compared later.
func (k *keeper) again(s subject) {
	k.due[s] = ""
	k.brakes.Of(s).Refused(time.Now())
	k.poke()
}

func (k *keeper) poke() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// bring gives an interface the settings that differ, and returns them. One that is no port of the bridge, or is gone, is for
// who brings interfaces in line.
func (k *keeper) bring(o *kept, index int) (have iface, changed settings, err error) {
	have, changed, err = k.differing(o, index)
	if err == nil && len(changed) > 0 {
		if err = k.links.set(index, changed); err != nil && !errors.Is(err, unix.ENETDOWN) {
			if _, still, again := k.differing(o, index); again == nil && len(still) > 0 { // it is there, and a port
				return have, nil, fmt.Errorf("%s: %v: %w", have.name, still, err)
			}
		}
	}
	if gone(err) || errors.Is(err, unix.ENETDOWN) { // an event follows
		return have, nil, nil
	}
	if _, known := have.settings[locked]; err == nil && !known && o.links[index][locked] == on && have.master == o.bridge {
		err = errNoLocks
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", cmp.Or(have.name, fmt.Sprint("interface ", index)), err)
	}
	return have, changed, err
}

// errNoLocks is what a gateway lacks on a kernel before Linux 5.18.
var errNoLocks = errors.New("the kernel cannot lock ports (Linux 5.18): with the MAC and the address of another guest that is here, this one is routed as that one by the gateway")

// differing reads an interface, and returns which of its settings are not as they shall be.
func (k *keeper) differing(o *kept, index int) (have iface, changed settings, err error) {
	have, err = k.links.read(index)
	if err != nil || index != o.bridge && have.master != o.bridge {
		return have, nil, err
	}
	changed = o.links[index].differ(have.settings)
	if _, ok := changed[state]; ok { // as long as the bridge is down no port forwards, and with the spanning tree protocol it is nobody's to set
		if bridge, err := k.links.read(o.bridge); err != nil || bridge.stp || !bridge.up {
			delete(changed, state)
		}
	}
	return have, changed, nil
}

// compare reads one thing, puts back what differs of it, and returns the repairs; with look it writes nothing.
func (k *keeper) compare(s subject, look bool) (repairs []Repair, err error) {
	o := k.plans[s.overlay]
	if o == nil || o.paused {
		return nil, nil
	}
	if s.link != 0 {
		return k.compareLink(o, s, look)
	}
	if s.mac == (overlay.MAC{}) { // nobody's
		return nil, k.place(s.overlay, o, nil)
	}
	port, wanted := o.guests[s.mac]
	if !wanted {
		return nil, k.takeBack(o, s.mac)
	}
	e, there, err := k.links.entry(o.bridge, s.mac)
	if gone(err) || err == nil && there && e.places(port) {
		return nil, nil
	}
	var at iface
	if err == nil {
		at, err = k.links.read(port)
	}
	if err == nil && at.master == o.bridge && !look {
		err = k.links.place(s.mac, port)
	}
	switch {
	case gone(err), err == nil && at.master != o.bridge:
		return nil, nil // the interface goes, or is no port: an event follows
	case err != nil:
		return nil, err
	}
	r := Repair{Kind: "forwarding", Op: "replace", Difference: opChanged, Interface: at.name, Key: fmt.Sprintf("forwarding entry %v of %s", s.mac, at.name)}
	if !there {
		r.Op, r.Difference = "add", opMissing
	}
	if !look && o.placed != nil {
		o.placed[s.mac] = port
	}
	return []Repair{r}, nil
}

func (k *keeper) compareLink(o *kept, s subject, look bool) (repairs []Repair, err error) {
	var have iface
	var changed settings
	if s.link == o.bridge {
		if err := k.links.unshare(o.bridge, o.ours); err != nil {
			return nil, err
		}
	}
	if look {
		if have, changed, err = k.differing(o, s.link); gone(err) {
			err = nil
		}
	} else {
		have, changed, err = k.bring(o, s.link)
	}
	if err != nil {
		return nil, err
	}
	for _, which := range changed.sorted() {
		repairs = append(repairs, Repair{Kind: "overlay", Op: "set", Difference: opChanged, Interface: have.name, Key: fmt.Sprintf("%s of %s", which.name(), have.name)})
	}
	return repairs, nil
}

// What kind of a difference the audit has found: as package vxlan calls it.
const (
	opMissing = "missing"
	opChanged = "changed"
)

// Run keeps overlays until ctx ends.
func (k *keeper) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, k.close)()
	broken := make(chan error, 1)
	var listening sync.WaitGroup
	defer listening.Wait()
	defer k.close()
	listening.Go(func() { broken <- k.listen() })
	audit := &keeperAudit{keeper: k, next: time.Now().Add(k.round)}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(time.Until(k.deadline(audit)))
		select {
		case <-ctx.Done():
			return nil
		case err := <-broken:
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("overlays: %w", err)
		case <-k.wake:
			timer.Reset(settleTime)
			select {
			case <-ctx.Done():
				return nil
			case <-timer.C:
			}
		case <-timer.C:
		}
		k.repair(ctx)
		audit.advance()
	}
}

// deadline is when there is something to do without a notification.
func (k *keeper) deadline(audit *keeperAudit) time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := time.Now().Add(time.Hour)
	if k.round > 0 {
		next = audit.next
	}
	for s := range k.due { // that are delayed
		if b := k.brakes[s]; b != nil && b.Next.Before(next) {
			next = b.Next
		}
	}
	return next
}

// repair compares what is due, but for what others undo again and again, and tells of what was put back.
func (k *keeper) repair(ctx context.Context) {
	var done []Repair
	judged := map[string]bool{}
	k.mu.Lock()
	now := time.Now()
	k.brakes.Trim(now)
	for s, difference := range k.due {
		if !k.brakes[s].Ready(now) {
			continue
		}
		delete(k.due, s)
		repairs, err := k.compare(s, false)
		judged[s.overlay] = true
		if k.note(s, err); err != nil {
			k.due[s] = difference
			continue
		}
		contended := len(repairs) > 0 && k.brakes.Of(s).Repaired(now)
		for _, r := range repairs {
			if difference == "" {
				r.Difference = ""
			}
			r.Contended = contended
			done = append(done, r)
		}
	}
	fresh := map[string]error{}
	for name := range judged {
		if err := k.fresh(name); err != nil {
			fresh[name] = err
		}
	}
	k.mu.Unlock()
	slices.SortFunc(done, func(a, b Repair) int { return cmp.Compare(a.Key, b.Key) })
	for _, r := range done {
		k.repaired(ctx, r)
	}
	for name, err := range fresh {
		k.failed(name, err)
	}
}

// listen takes what the kernel notifies, until the socket is closed.
func (k *keeper) listen() error {
	for {
		messages, err := k.monitor.Receive()
		k.mu.Lock()
		switch {
		case errors.Is(err, unix.ENOBUFS): // some were lost
			clear(k.suspects)
			for s := range k.subjects {
				k.notified(s)
			}
		case err != nil:
			k.mu.Unlock()
			return err
		}
		for _, m := range messages {
			k.message(m)
		}
		if len(k.due) > 0 {
			k.poke()
		}
		k.mu.Unlock()
	}
}

// message takes one notification, or the answer to a fence.
func (k *keeper) message(m netlink.Message) {
	switch m.Header.Type {
	case unix.RTM_NEWLINK:
		if m.Header.Sequence != 0 && m.Header.Sequence == k.fence && m.Header.PID == k.monitor.PID() {
			for s, difference := range k.suspects {
				k.due[s] = difference
			}
			clear(k.suspects)
			return
		}
		index, ok := linkOf(m.Data)
		if !ok {
			return
		}
		for name, o := range k.plans {
			if _, ours := o.links[index]; !ours {
				continue
			}
			k.notified(subject{overlay: name, link: index})
			for mac, port := range o.guests { // one that was out of the bridge has lost its entries
				if port == index {
					k.notified(subject{overlay: name, mac: mac})
				}
			}
		}
	case unix.RTM_NEWADDR:
		k.addressed(m.Data)
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		mac, ok := macOf(m.Data)
		if !ok {
			return
		}
		for name, o := range k.plans {
			if _, here := o.guests[mac]; here {
				k.notified(subject{overlay: name, mac: mac})
			}
		}
	}
}

// notified notes that something may have changed.
func (k *keeper) notified(s subject) {
	delete(k.suspects, s)
	k.due[s] = ""
}

// subjects yields all that is kept.
func (k *keeper) subjects(yield func(subject) bool) {
	for name, o := range k.plans {
		for index := range o.links {
			if !yield(subject{overlay: name, link: index}) {
				return
			}
		}
		for mac := range o.guests {
			if !yield(subject{overlay: name, mac: mac}) {
				return
			}
		}
	}
}
