package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// asking guests, and how often they ask together: each as often as an ordinary one may.
const (
	asking       = 100
	askPerSecond = 20000
	askTime      = 5 * time.Second
)

// answer measures what the daemon needs for an answer to guests that ask for each other,
// and ndppd for the same questions.
func answer(ctx context.Context, b *budget) error {
	m, err := hypervisor(ctx, asking, "responder")
	defer m.close()
	if err != nil {
		return err
	}
	single := func(i int) string { return address6(i).String() + "/128" }
	if err := m.Send(ctx, "POST", "/v1/guests", guestsJSON(0, asking, single)); err != nil {
		return err
	}
	each := map[string]float64{}
	for _, f := range []family{arpFamily, ndpFamily} {
		sent, answered, us, err := m.costOf(f, m.daemon.Process.Pid)
		if err != nil {
			return err
		}
		what := fmt.Sprintf("%s, %d guests, %d/s", f.name, asking, askPerSecond)
		each[f.name] = us
		b.most(what+": not answered", 100*float64(sent-answered)/float64(sent), 0.5, "%")
		b.show(what+": CPU an answer", number(us, "us"), f.target)
	}
	m.close()
	return answerOfOthers(ctx, b, each)
}

// costOf has guests ask while a process answers, and returns how many microseconds of CPU
// it needs for one.
func (m *machine) costOf(f family, pid int) (sent, answered int64, us float64, err error) {
	a, err := m.asks(f, asking)
	if err != nil {
		return 0, 0, 0, err
	}
	defer a.close()
	a.flood(1000, time.Second) // everybody is known
	old := look(pid)
	sent, answered = a.flood(askPerSecond, askTime)
	cpu := look(pid).cpu - old.cpu
	return sent, answered, float64(cpu.Nanoseconds()) / 1e3 / float64(max(answered, 1)), nil
}

// answerOfOthers measures ndppd.
func answerOfOthers(ctx context.Context, b *budget, ours map[string]float64) error {
	if _, err := exec.LookPath("ndppd"); err != nil {
		b.show("the same: ndppd", "is not installed", "")
		return nil
	}
	m, err := newMachine(ctx)
	defer m.close()
	if err == nil {
		err = m.plug(asking)
	}
	if err != nil {
		return err
	}
	var conf, links, neighbours strings.Builder
	for i := range asking {
		fmt.Fprintf(&conf, "proxy g%d {\n router yes\n rule 2001:db8::/64 {\n  static\n }\n}\n", i)
		fmt.Fprintf(&links, "link set g%d up\naddr add fe80::1/64 dev g%d nodad\n", i, i)
		fmt.Fprintf(&neighbours, "route add %v dev g%d\nneigh add %v lladdr %v dev g%d nud permanent\n", address6(i), i, address6(i), mac(i), i)
	}
	if err := ip("-n "+m.hv+" -batch -", links.String()); err != nil {
		return err
	}
	if err := ip("-n "+m.hv+" -6 -batch -", neighbours.String()); err != nil {
		return err
	}
	if err := m.write("ndppd.conf", conf.String()); err != nil {
		return err
	}
	ndppd, err := m.run(m.hv, "ndppd", "ndppd", "-c", m.path("ndppd.conf"))
	if err != nil {
		return err
	}
	if err := m.rest(2 * time.Second); err != nil {
		return err
	}
	sent, answered, us, err := m.costOf(ndpFamily, ndppd.Process.Pid)
	if err != nil {
		return err
	}
	b.show("the same: ndppd: not answered, CPU an answer", fmt.Sprint(number(100*float64(sent-answered)/float64(sent), "%"), ", ", number(us, "us")), "")
	if answered > 0 {
		b.most("the same: ours over ndppd's", ours[ndpFamily.name]/us, 1, "x")
	}
	return nil
}
