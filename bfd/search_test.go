package bfd

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// Two cables, one to a namespace of its own, and the four sessions over them: IPv4, IPv6, in
// the namespace, and by echo.
const (
	searchV0 = `
cable home far v0
addr home v0 10.0.0.1
addr home v0 10.0.0.9
addr home v0 fd00::1
addr far v0 10.0.0.2
addr far v0 fd00::2`
	searchW0 = `
netns left
cable left far w0
addr left w0 10.1.0.1
addr far w0 10.1.0.2`
	searchStart = `netns far
forward far` + searchV0 + searchW0 + `
remote r
add r 10.0.0.1 local=10.0.0.2 dev=v0 in=far
add r fd00::1 local=fd00::2 dev=v0 in=far
add r 10.1.0.1 local=10.1.0.2 dev=w0 in=far`
)

var searchSessions = []string{
	"10.0.0.2 local=10.0.0.1 dev=v0",
	"fd00::2 local=fd00::1 dev=v0",
	"10.1.0.2 local=10.1.0.1 dev=w0 in=left",
	"10.0.0.2 local=10.0.0.9 dev=v0 echo",
}

// TestProcesses searches for a state that BFD processes do not get out of: they are started,
// killed, stopped and replaced at any moment, clients come and go, interfaces and namespaces
// are deleted and made again, ports are taken, calls of the kernel fail, descriptors run out.
// After a minute of quiet every session is Up and everybody agrees about it, no descriptor
// too many is open, and a real Down reaches the client in the detection time.
func TestProcesses(t *testing.T) {
	scenario.Search{Seeds: 12, Inputs: searchInputs, Play: playProcesses}.Run(t)
}

func searchInputs(r *rand.Rand) (list []string) {
	at, n := 0, 0
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	proc := func() string { return fmt.Sprintf("p%d", max(1, n-r.IntN(2))) }
	list = append(list, "process p1", "client c")
	n = 1
	for range 10 + r.IntN(20) {
		var lines string
		switch r.IntN(13) {
		case 0:
			n++
			lines = fmt.Sprintf("process p%d", n)
		case 1, 2:
			n++
			lines = fmt.Sprintf("takeover p%d %s", n, pick("", "", fmt.Sprintf("dies=%d", 1+r.IntN(1500)), fmt.Sprintf("stalls=%d/%dms", 1+r.IntN(1500), r.IntN(900))))
		case 3:
			lines = pick("kill ", "stop ", "kill ") + proc()
		case 4:
			lines = fmt.Sprintf("mortal %s dies=%d", proc(), 1+r.IntN(2000))
		case 5:
			lines = pick("client c", "die c", "kill c", "synced c", "client other", "die other")
		case 6, 7:
			lines = pick("add ", "add ", "add ", "remove ") + pick("c ", "c ", "other ") + pick(searchSessions...)
		case 8:
			lines = pick("unlink home v0", "unlink left w0", "unname left", searchV0, searchW0)
		case 9:
			lines = pick("cut home v0", "heal home v0", "cut left w0", "heal left w0")
		case 10:
			lines = pick("port home 3784 taken", "port home 3784 free", "port left 3784 taken")
		case 11:
			lines = fmt.Sprintf("fail %s %s %d", pick("accept", "receiver", "sender", "echo", "namespace", "link", "watch", "send", "poller", "begin"),
				pick("EMFILE", "ENOBUFS", "EPERM", "EINTR", "ENODEV", "ECONNABORTED"), 1+r.IntN(20))
		case 12:
			lines = fmt.Sprintf("descriptors %s %s", proc(), pick("1000", "4", "7", "10"))
		}
		at += r.IntN(700)
		for line := range strings.Lines(strings.TrimPrefix(lines, "\n")) {
			list = append(list, fmt.Sprintf("+%dms %s", at, strings.TrimSpace(line)))
		}
	}
	return list
}

func playProcesses(t *testing.T, inputs []string) error {
	text := searchStart + "\n" + strings.Join(inputs, "\n") + "\n"
	text += "+25s port home 3784 free\n"
	for _, call := range []string{"accept", "receiver", "sender", "echo", "namespace", "link", "watch", "send", "poller", "begin"} {
		text += "fail " + call + " EMFILE 0\n"
	}
	for n := range 32 {
		text += fmt.Sprintf("descriptors p%d 1000\nmortal p%d dies=0\n", n, n)
	}
	text += strings.TrimPrefix(searchV0, "\n") + searchW0 + "\ndie other\nclient c\n"
	for _, s := range searchSessions {
		text += "add c " + s + "\n"
	}
	text += "synced c\n+30s process last\n+90s\n"
	_, err := inBubble(t, text, quiet)
	return err
}

// quiet checks what must be so after nothing has happened for a minute.
func quiet(w *world) error {
	c, r := w.clients["c"], w.remotes["r"]
	list, err := c.Sessions()
	if err != nil || len(list) != len(searchSessions) {
		return fmt.Errorf("%d sessions: %v", len(list), err)
	}
	w.mu.Lock()
	for _, s := range list {
		if e := c.states[s.Key]; s.State != StateUp || e.State != StateUp || e.Downs != s.Downs || s.Err != "" {
			w.mu.Unlock()
			return fmt.Errorf("the process has %v %v, %d downs %s; the client %s, %d downs", s.Key, s.State, s.Downs, s.Err, brief(e), e.Downs)
		}
	}
	for _, e := range r.states {
		if e.State != StateUp {
			w.mu.Unlock()
			return fmt.Errorf("the remote system has %s", brief(e))
		}
	}
	w.mu.Unlock()
	if err := w.descriptors(); err != nil {
		return err
	}
	cut := time.Now()
	for _, words := range [][]string{{"home", "v0"}, {"left", "w0"}} {
		if err := w.do("cut", words); err != nil {
			return err
		}
	}
	time.Sleep(310 * time.Millisecond)
	w.mu.Lock()
	defer w.mu.Unlock()
	for k := range c.wanted {
		if e := c.states[k]; e.State != StateDown {
			return fmt.Errorf("%v after a cut the client has %s", time.Since(cut), brief(e))
		}
	}
	return nil
}

// descriptors checks that one process has what four sessions need: a listener, two senders and
// a receiver for each family at home and for one in the namespace, and one socket for echo. Who is
// dead or has ended has none.
func (w *world) descriptors() error {
	w.net.mu.Lock()
	defer w.net.mu.Unlock()
	var owners []string
	for _, p := range w.all {
		if len(p.proc.fds) > 0 && w.remotes["r"] != p {
			owners = append(owners, fmt.Sprintf("%s: %d", p.name, len(p.proc.fds)))
		}
	}
	slices.Sort(owners)
	if len(owners) != 1 || !strings.HasSuffix(owners[0], ": 11") {
		return fmt.Errorf("descriptors are open: %v; want 11 of one process", owners)
	}
	return nil
}
