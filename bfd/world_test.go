package bfd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/bfdcore"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// world is a fakeNet with BFD processes, clients and remote systems, as scenarios speak of
// them. It lives in a bubble of testing/synctest.
type world struct {
	net     *fakeNet
	procs   map[string]*program // BFD processes
	clients map[string]*program
	remotes map[string]*program
	all     []*program // that ever were
	seed    uint32

	mu  sync.Mutex
	out []string
}

// program is something that runs.
type program struct {
	name   string
	proc   *fakeProc
	cancel context.CancelFunc
	done   chan error
	Service
	states map[Key]Event // as its watcher says
	wanted map[Key]SessionConfig
	heard  time.Time // of the last event
}

// socketPath is where BFD processes of a world answer.
const socketPath = "/run/bfd"

func newWorld() *world {
	return &world{net: newFakeNet(), procs: map[string]*program{}, clients: map[string]*program{}, remotes: map[string]*program{}}
}

func (w *world) say(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := time.Since(scenario.Epoch).Truncate(10 * time.Millisecond)
	w.out = append(w.out, fmt.Sprintf("+%v ", at)+fmt.Sprintf(format, args...))
}

// Do implements [scenario.Machine]: it lets time pass, then does what the words say.
func (w *world) Do(now time.Time, words []string) ([]string, error) {
	time.Sleep(time.Until(now))
	synctest.Wait()
	var err error
	if len(words) > 0 {
		err = w.do(words[0], words[1:])
		synctest.Wait()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	out := latest(w.out)
	w.out = nil
	slices.SortStableFunc(out, func(a, b string) int { // at the same moment in any order
		ta, a, _ := strings.Cut(a, " ")
		tb, b, _ := strings.Cut(b, " ")
		if ta != tb {
			return 0
		}
		return strings.Compare(a, b)
	})
	return out, errors.Join(append(w.net.wrong, err)...)
}

// notice says what a program that is not dead notices.
func (w *world) notice(p *program, err error) {
	if !w.net.isDead(p.proc) {
		w.say("%s notices: %v", p.name, err)
	}
}

// latest leaves out events that another one of the same session follows in the same 10
// milliseconds: a watcher may have folded them.
func latest(out []string) []string {
	last := map[string]int{}
	subject := func(line string) string {
		before, _, event := strings.Cut(line, " -> ")
		after := strings.Fields(line[len(before):])
		if !event || !strings.HasSuffix(strings.Fields(before)[1], ":") {
			return ""
		}
		return before + after[1]
	}
	for i, line := range out {
		last[subject(line)] = i
	}
	kept := out[:0]
	for i, line := range out {
		if s := subject(line); s == "" || last[s] == i {
			kept = append(kept, line)
		}
	}
	return kept
}

func (w *world) do(verb string, args []string) error {
	args = append(args, "", "", "")
	if f := w.networkVerb(verb, args); f != nil {
		w.net.mu.Lock()
		defer w.net.mu.Unlock()
		return f()
	}
	name := args[0]
	switch verb {
	case "cable":
		if a, b := w.net.paths[path(args[0])], w.net.paths[path(args[1])]; a != nil && b != nil {
			w.net.cable(a, b, args[2])
		}
	case "process", "takeover":
		w.start(name, verb == "takeover", args[1:])
	case "client":
		return w.client(name)
	case "remote":
		return w.remote(name)
	case "kill", "stop", "die":
		return w.end(verb, name)
	case "mortal":
		if p := w.procs[name]; p != nil {
			w.mortal(p.proc, args[1])
		}
	case "add", "remove", "synced", "sessions":
		return w.ask(verb, name, args[1:])
	default:
		return fmt.Errorf("unknown word %q", verb)
	}
	return nil
}

// path is the path of a namespace that a scenario calls name; "home" is the processes'.
func path(name string) string {
	if name == "home" {
		return ""
	}
	return "/run/netns/" + name
}

// networkVerb returns what a word does to the network, nil if it is none of these words.
func (w *world) networkVerb(verb string, args []string) func() error {
	n := w.net
	ns := func() *fakeNS { return n.paths[path(args[0])] }
	onLink := func(f func(l *fakeLink)) func() error {
		return func() error {
			if ns() != nil && ns().links[args[1]] != nil {
				f(ns().links[args[1]])
			}
			return nil
		}
	}
	switch verb {
	case "netns":
		return func() error { n.paths[path(args[0])] = n.namespace(args[0]); return nil }
	case "unname":
		return func() error { delete(n.paths, path(args[0])); return nil }
	case "forward":
		return func() error { ns().forward = args[1] != "off"; return nil }
	case "addr":
		return onLink(func(l *fakeLink) { l.addrs = append(l.addrs, netip.MustParseAddr(args[2])) })
	case "cut":
		return onLink(func(l *fakeLink) { l.cut, l.far.cut = true, true })
	case "heal":
		return onLink(func(l *fakeLink) { l.cut, l.far.cut = false, false })
	case "unlink":
		return onLink(func(l *fakeLink) { delete(l.ns.links, l.name); delete(l.far.ns.links, l.far.name) })
	case "port":
		return func() error {
			port, err := strconv.Atoi(args[1])
			if ns() != nil {
				ns().taken[uint16(port)] = args[2] == "taken"
			}
			return err
		}
	case "fail":
		return func() error {
			left, err := strconv.Atoi(args[2])
			n.fail[args[0]] = &fault{errnos[args[1]], left}
			return err
		}
	case "object": // NS ID LINK GATEWAY: a next-hop object
		return func() error {
			id, err := strconv.Atoi(args[1])
			if ns() != nil && err == nil {
				link := ns().links[args[2]]
				ns().hops[uint32(id)] = bfdcore.NextHop{ID: uint32(id), Link: link.index, Gateway: netip.MustParseAddr(args[3])}
			}
			return err
		}
	case "group": // NS ID MEMBER,MEMBER...
		return func() error {
			id, err := strconv.Atoi(args[1])
			if ns() != nil && err == nil {
				g := bfdcore.NextHop{ID: uint32(id), Group: []bfdcore.Member{}}
				for _, m := range strings.Split(args[2], ",") {
					n, _ := strconv.Atoi(m)
					g.Group = append(g.Group, bfdcore.Member{ID: uint32(n)})
				}
				ns().hops[g.ID] = g
			}
			return err
		}
	case "netlink": // DURATION: how long it waits for others' locks
		return func() (err error) {
			n.slow, err = time.ParseDuration(args[0])
			return err
		}
	case "objects": // NS
		return func() error {
			for _, id := range slices.Sorted(maps.Keys(ns().hops)) {
				w.say("object %d on link %d %v", id, ns().hops[id].Link, ns().hops[id].Group)
			}
			return nil
		}
	case "descriptors":
		return func() error {
			most, err := strconv.Atoi(args[1])
			if p := w.procs[args[0]]; p != nil {
				p.proc.most = most
			}
			return err
		}
	}
	return nil
}

var errnos = map[string]unix.Errno{"EMFILE": unix.EMFILE, "EADDRINUSE": unix.EADDRINUSE, "ENODEV": unix.ENODEV, "EPERM": unix.EPERM,
	"ENETUNREACH": unix.ENETUNREACH, "ENOBUFS": unix.ENOBUFS, "ECONNABORTED": unix.ECONNABORTED, "EINVAL": unix.EINVAL, "EINTR": unix.EINTR}

// program makes a program, which does not run yet.
func (w *world) program(name string, all map[string]*program) *program {
	w.seed = xorshift(w.seed + 77)
	p := &program{name: name, proc: w.net.process(name, w.seed), done: make(chan error, 1), states: map[Key]Event{}, wanted: map[Key]SessionConfig{}}
	if before := all[name]; before != nil {
		before.cancel()
	}
	all[name] = p
	w.all = append(w.all, p)
	return p
}

// launch runs f as the program.
func (p *program) launch(f func(ctx context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	go func() { p.done <- f(ctx) }()
}

func (w *world) start(name string, takes bool, args []string) {
	p := w.program(name, w.procs)
	for _, a := range args { // "dies=OCTETS" or "stalls=OCTETS/DURATION"
		w.mortal(p.proc, a)
	}
	p.launch(func(ctx context.Context) error {
		cfg := ServeConfig{RestartTime: time.Minute, Ready: func() { w.say("%s is ready", name) }}
		if !slices.Contains(args, "quiet") { // else there is no Notice
			cfg.Notice = func(err error) { w.notice(p, err) }
		}
		cfg.Coexist = slices.Contains(args, "coexist")
		err := w.serve(ctx, p.proc, takes, cfg)
		if w.net.isDead(p.proc) {
			w.say("%s is dead", name)
		} else if err != nil {
			w.say("%s ends: %v", name, err)
		} else {
			w.say("%s ends", name)
		}
		return err
	})
}

// mortal says what becomes of a process's next connection: of a successor, that to its
// predecessor.
func (w *world) mortal(p *fakeProc, how string) {
	verb, value, _ := strings.Cut(how, "=")
	octets, stall, _ := strings.Cut(value, "/")
	w.net.mu.Lock()
	defer w.net.mu.Unlock()
	switch verb {
	case "dies":
		p.after, _ = strconv.Atoi(octets)
	case "stalls":
		p.after, _ = strconv.Atoi(octets)
		p.stall, _ = time.ParseDuration(stall)
	}
}

func (w *world) serve(ctx context.Context, p *fakeProc, takes bool, cfg ServeConfig) error {
	if takes {
		return takeover(ctx, socketPath, cfg, p)
	}
	w.net.mu.Lock()
	if l := w.net.files[socketPath]; l != nil && l.refs == 0 {
		delete(w.net.files, socketPath) // left by one that was killed
	}
	w.net.mu.Unlock()
	l, err := p.listen(socketPath)
	if err != nil {
		return err
	}
	return serve(ctx, l, cfg, p)
}

func (w *world) client(name string) error {
	p := w.program(name, w.clients)
	c, err := newClientOn(ClientConfig{Socket: socketPath, Name: name, Notice: func(err error) { w.notice(p, err) }}, p.proc)
	if err != nil {
		return err
	}
	p.Service = c
	w.watch(p, true)
	p.launch(c.Run)
	return nil
}

// remote is a system at the other end: a Server in a namespace.
func (w *world) remote(name string) error {
	p := w.program(name, w.remotes)
	s, err := newServerOn(Config{}, p.proc)
	if err != nil {
		return err
	}
	p.Service = s
	w.watch(p, false)
	p.launch(s.Run)
	return nil
}

// watch keeps what a program's watcher says, and says it.
func (w *world) watch(p *program, aloud bool) {
	watcher := p.Watch()
	go func() {
		for e, err := range watcher.All(context.Background()) {
			if err != nil {
				return
			}
			w.mu.Lock()
			if p.states[e.Key] = e; e.Removed {
				delete(p.states, e.Key)
			}
			p.heard = time.Now()
			w.mu.Unlock()
			if aloud {
				w.say("%s: %s", p.name, brief(e))
			}
		}
	}()
}

// brief is an event without its time.
func brief(e Event) string {
	text := fmt.Sprintf("%v %v", e.Key, e.State)
	if e.Reason != ReasonNone {
		text += fmt.Sprintf(" (%v)", e.Reason)
	}
	if e.Removed {
		text += " removed"
	}
	if e.Err != "" {
		text += ": " + e.Err
	}
	for _, f := range e.Failover {
		text += fmt.Sprintf(", next hop %d deleted %v %s", f.ID, f.Deleted, f.Err)
	}
	return text
}

func (w *world) end(verb, name string) error {
	for _, all := range []map[string]*program{w.procs, w.clients, w.remotes} {
		p := all[name]
		if p == nil {
			continue
		}
		if verb == "kill" {
			p.proc.kill()
		}
		if verb != "stop" || all[name].Service != nil {
			delete(all, name)
		}
		p.cancel()
		return nil
	}
	return nil // shrinking has left it out
}

func (w *world) ask(verb, name string, args []string) error {
	p := w.clients[name]
	if p == nil {
		p = w.remotes[name]
	}
	if p == nil {
		return nil
	}
	c, err := parseSession(args)
	if err != nil {
		return err
	}
	switch verb {
	case "add":
		p.wanted[c.Key.Normal()] = c
		err = p.Add(c)
	case "remove":
		delete(p.wanted, c.Key.Normal())
		err = p.Remove(c.Key)
	case "synced":
		err = p.Service.(*Client).Synced()
	case "sessions":
		var list []Status
		list, err = p.Sessions()
		slices.SortFunc(list, func(a, b Status) int { return strings.Compare(a.Key.String(), b.Key.String()) })
		for _, s := range list {
			w.say("%s has %v %v (%v) %d downs %s", name, s.Key, s.State, s.Reason, s.Downs, s.Err)
		}
	}
	if err != nil {
		w.say("%s: %s: %v", name, verb, err)
	}
	return nil
}

// parseSession reads a session: its peer, and what else there is to say.
func parseSession(args []string) (c SessionConfig, err error) {
	c = SessionConfig{DesiredMinTx: ms(100), RequiredMinRx: ms(100), Multiplier: 3}
	for i, a := range args {
		name, value, _ := strings.Cut(a, "=")
		n, _ := strconv.Atoi(value)
		switch {
		case a == "":
		case i == 0:
			c.Peer, err = netip.ParseAddr(a)
		case name == "local":
			c.Local, err = netip.ParseAddr(value)
		case name == "dev":
			c.Interface = value
		case name == "in":
			c.NetNS = path(value)
		case name == "every":
			c.DesiredMinTx, err = time.ParseDuration(value)
			c.RequiredMinRx = c.DesiredMinTx
		case name == "mult":
			c.Multiplier = uint8(n)
		case a == "echo":
			c.Echo = true
		case a == "multihop":
			c.Multihop = true
		case name == "auth":
			c.Auth = Auth{Type: AuthType(n), Keys: []AuthKey{{1, "secret"}}}
		case name == "hop":
			id, ifindex, _ := strings.Cut(value, ":")
			n, _ := strconv.Atoi(id)
			link, _ := strconv.Atoi(ifindex)
			c.Failover = append(c.Failover, NextHop{ID: uint32(n), IfIndex: link, Gateway: c.Peer})
		case name == "guard": // PEER,LOCAL,DEV: of the last hop
			f := strings.Split(value+",,", ",")
			hop := &c.Failover[len(c.Failover)-1]
			hop.Guards = append(hop.Guards, Key{Peer: netip.MustParseAddr(f[0]), Local: netip.MustParseAddr(f[1]), Interface: f[2]})
		default:
			err = fmt.Errorf("unknown word %q", a)
		}
		if err != nil {
			return c, err
		}
	}
	return c, nil
}

// over ends everything that runs.
func (w *world) over() {
	for _, p := range slices.Backward(w.all) { // clients come after their processes, most often
		p.cancel()
	}
	time.Sleep(10 * time.Second)
	synctest.Wait()
}

// inBubble plays a text against a world.
func inBubble(t *testing.T, text string, then func(w *world) error) (out string, err error) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		defer w.over()
		out, err = scenario.Play(text, w)
		if err == nil && then != nil {
			err = then(w)
		}
	})
	return out, err
}

// TestWorld plays every testdata/process/*.txt: processes, clients and a network.
func TestWorld(t *testing.T) {
	scenario.Files(t, "testdata/process/*.txt", func(t *testing.T, text string) (string, error) {
		return inBubble(t, text, nil)
	})
}
