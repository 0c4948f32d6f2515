package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
)

// machine is a hypervisor, and beside it the machine that its peers are on.
type machine struct {
	ctx      context.Context
	hv, peer string // namespaces
	dir      string
	*api.Client
	cmds []*exec.Cmd // what was started; the daemon is in daemon
	// daemon is the newest that was started, nil if none was.
	daemon *exec.Cmd
}

var serial atomic.Int32

// newMachine makes two namespaces. The caller closes it also after an error.
func newMachine(ctx context.Context) (*machine, error) {
	id := fmt.Sprintf("hfb-%d-%d", os.Getpid(), serial.Add(1))
	m := &machine{ctx: ctx, hv: id + "-hv", peer: id + "-peer"}
	var err error
	if m.dir, err = os.MkdirTemp("", "budget"); err != nil {
		return m, err
	}
	m.Client = api.NewClient(m.path("api.sock"))
	for _, ns := range []string{m.hv, m.peer} {
		if err := ip("netns add "+ns, ""); err != nil {
			return m, err
		}
		if err := ip("-n "+ns+" link set lo up", ""); err != nil {
			return m, err
		}
	}
	return m, nil
}

func (m *machine) path(name string) string { return filepath.Join(m.dir, name) }

// close ends everything and removes what was made.
func (m *machine) close() {
	for _, ns := range []string{m.hv, m.peer} {
		for _, pid := range m.pids(ns) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	for _, c := range m.cmds {
		_ = c.Wait()
	}
	for _, ns := range []string{m.hv, m.peer} {
		_ = ip("netns del "+ns, "")
	}
	os.RemoveAll(m.dir)
}

// pids are the processes in one of the namespaces.
func (m *machine) pids(ns string) (pids []int) {
	out, _ := exec.CommandContext(m.ctx, "ip", "netns", "pids", ns).Output()
	for w := range strings.FieldsSeq(string(out)) {
		if pid, err := strconv.Atoi(w); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// run starts a program in a namespace; what it prints goes to NAME.log.
func (m *machine) run(ns, name string, args ...string) (*exec.Cmd, error) {
	log, err := os.OpenFile(m.path(name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command("ip", append([]string{"netns", "exec", ns}, args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	m.cmds = append(m.cmds, cmd)
	return cmd, nil
}

// write writes a file into the machine's directory, which DIR stands for.
func (m *machine) write(name, text string) error {
	return os.WriteFile(m.path(name), []byte(strings.ReplaceAll(text, "DIR", m.dir)), 0o600)
}

// start starts hvrouter and waits until it answers.
func (m *machine) start(config string) (err error) {
	if err := m.write("hv.yaml", config); err != nil {
		return err
	}
	if m.daemon, err = m.run(m.hv, "hv", os.Getenv("HVROUTER"), "run", "-config", m.path("hv.yaml")); err != nil {
		return err
	}
	return m.until("the daemon answers", func() bool { return m.Get(m.ctx, "/v1/status", &api.Status{}) == nil })
}

// until polls until cond is true.
func (m *machine) until(what string, cond func() bool) error {
	for end := time.Now().Add(time.Minute); !cond(); time.Sleep(10 * time.Millisecond) {
		if m.ctx.Err() != nil {
			return m.ctx.Err()
		}
		if time.Now().After(end) {
			log, _ := os.ReadFile(m.path("hv.log"))
			return fmt.Errorf("not within a minute: %s: %s", what, log[max(0, len(log)-2000):])
		}
	}
	return nil
}

// rest waits while nothing happens.
func (m *machine) rest(d time.Duration) error {
	select {
	case <-m.ctx.Done():
		return m.ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// metric returns the first value of a metric of the daemon.
func (m *machine) metric(name string) (float64, error) {
	text, err := m.Text(m.ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(v), 64)
		}
	}
	return 0, errors.New("no metric " + name)
}

// veth joins the hypervisor and the other machine.
func (m *machine) veth(name, here, other, there string) error {
	script := fmt.Sprintf("link add %s type veth peer name %s netns %s\nlink set %s up\n", name, other, m.peer, name)
	for _, a := range strings.Fields(here) {
		script += fmt.Sprintf("addr add %s dev %s\n", a, name)
	}
	if err := ip("-n "+m.hv+" -batch -", script); err != nil {
		return err
	}
	script = fmt.Sprintf("link set %s up\n", other)
	for _, a := range strings.Fields(there) {
		script += fmt.Sprintf("addr add %s dev %s\n", a, other)
	}
	return ip("-n "+m.peer+" -batch -", script)
}

func ip(args, stdin string) error {
	c := exec.Command("ip", strings.Fields(args)...)
	c.Stdin = strings.NewReader(stdin)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", args, err, out)
	}
	return nil
}
