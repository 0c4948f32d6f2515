package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
)

// outcome is what a command has answered.
type outcome struct {
	args []string
	text string
	ok   bool
}

// atOnce runs commands at the same time.
func (h *host) atOnce(commands ...[]string) []outcome {
	all := make([]outcome, len(commands))
	var done sync.WaitGroup
	start := make(chan struct{})
	for i, args := range commands {
		cmd := h.command(append(args, "-api", h.path("api.sock"))...)
		done.Go(func() {
			<-start
			out, err := cmd.CombinedOutput()
			all[i] = outcome{args, string(out), err == nil}
		})
	}
	close(start)
	done.Wait()
	return all
}

// winner returns which one of some outcomes succeeded, and wants all others to be refused with some
// words.
func winner(t *testing.T, what string, all []outcome, words ...string) (won int) {
	t.Helper()
	won = -1
	for i, o := range all {
		clear := false
		for _, w := range words {
			clear = clear || strings.Contains(o.text, w)
		}
		switch {
		case o.ok && won >= 0:
			t.Errorf("%s: %v and %v both succeeded: %s", what, all[won].args, o.args, o.text)
		case o.ok:
			won = i
		case !clear:
			t.Errorf("%s: %v was refused with %q", what, o.args, o.text)
		}
	}
	if won < 0 {
		t.Fatalf("%s: none succeeded: %+v", what, all)
	}
	return won
}

// TestConcurrentCommands: of three reloads that are to be confirmed and come at once one counts and
// the others are refused; of its confirmation and its cancellation one counts; reloads and drains
// that come at once are carried out one after the other. What is on disk afterwards is what the
// daemon does, and what one does that starts after kill -9.
func TestConcurrentCommands(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	h := newHost(t)
	h.up()
	h.guest()
	h.wait("the guest's route at BIRD, twice", func() bool { return h.reflected("203.0.113.1") == 2 })
	h.far()
	stream := h.stream()
	variant := func(i int) string {
		return strings.Replace(hvConfig, "ipv4: [203.0.113.1]", fmt.Sprintf("ipv4: [203.0.113.1], routed: [203.0.113.%d/32]", 10+i), 1)
	}
	text := func() string {
		b, err := os.ReadFile(h.path("hv.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(string(b), h.dir, "DIR")
	}
	serves := func(want string) {
		t.Helper()
		h.wait("the kernel to have what the file says", func() bool {
			routes := h.routes("route show table 90")
			for i := range 5 {
				address := fmt.Sprintf("203.0.113.%d", 10+i)
				if strings.Contains(want, address+"/32") != strings.Contains(routes, address+" ") {
					return false
				}
			}
			return true
		})
	}
	var reloads [][]string
	for i := range 5 {
		name := fmt.Sprintf("v%d.yaml", i)
		h.write(name, variant(i))
		reloads = append(reloads, []string{"reload", h.path(name)})
	}
	confirm := func(args []string) []string { return []string{args[0], "-confirm", "1m", args[1]} }
	for round := range 6 {
		before := text()
		all := h.atOnce(confirm(reloads[0]), confirm(reloads[1]), confirm(reloads[2]), []string{"drain"}, []string{"drain"})
		won := winner(t, "reload -confirm", all[:3], "a reload waits for its confirmation")
		if !all[3].ok || !all[4].ok {
			t.Errorf("drain: %+v", all[3:])
		}
		serves(variant(won))
		if round%2 == 0 {
			h.kill(syscall.SIGKILL) // inside the window: it is rolled back
			h.run()
			h.up()
			serves(before)
			if text() != before {
				t.Errorf("round %d: after kill -9 the file is\n%s", round, text())
			}
		} else {
			all := h.atOnce([]string{"reload", "confirm"}, []string{"reload", "cancel"})
			want := []string{variant(won), before}[winner(t, "confirm and cancel", all, "nothing waits", "rolled back (cancelled)", "confirmed", "no reload waits")]
			serves(want)
			if text() != want {
				t.Errorf("round %d: %+v: the file is\n%s", round, all, text())
			}
		}
		var d api.Drain
		if err := h.ask("/v1/drain", &d); err != nil || !d.Drained {
			t.Errorf("round %d: %+v, %v", round, d, err)
		}
		h.cli("undrain")

		all = h.atOnce(reloads[3], reloads[4], []string{"reload"}, []string{"drain"}, []string{"undrain"})
		for _, o := range all {
			if !o.ok {
				t.Errorf("round %d: %v: %s", round, o.args, o.text)
			}
		}
		if now := text(); now != variant(3) && now != variant(4) {
			t.Errorf("round %d: the file is\n%s", round, now)
		}
		serves(text())
		running := h.cli("show", "drain")[:7]
		h.kill(syscall.SIGKILL)
		h.run()
		h.up()
		serves(text())
		if now := h.cli("show", "drain")[:7]; now != running {
			t.Errorf("round %d: %q, and after kill -9 %q", round, running, now)
		}
	}
	for _, left := range []string{"hv.yaml.pending", "hv.yaml.new", "hv.yaml.bad1"} {
		if _, err := os.Stat(h.path(left)); err == nil {
			t.Errorf("%s is left over", left)
		}
	}
	if sent, lost := stream.stop(); lost > 0 || sent < 100 {
		t.Errorf("%d of %d packets lost", lost, sent)
	}
}
