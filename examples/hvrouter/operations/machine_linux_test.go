package operations

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// machine is a host with systemd as its first process, in the network namespace ns.
type machine struct {
	ns   *nstest.NS
	init int // its first process
	log  string
	tb   testing.TB
}

// boot starts a machine. Its processes and files are gone when the test ends.
func boot(tb testing.TB, ns *nstest.NS, name string) *machine {
	tb.Helper()
	for _, program := range []string{"unshare", "nsenter", "systemctl"} {
		nstest.Need(tb, program)
	}
	dir := tb.TempDir()
	m := &machine{ns: ns, tb: tb, log: filepath.Join(dir, "log")}
	log, err := os.Create(m.log)
	if err != nil {
		tb.Fatal(err)
	}
	defer log.Close()
	script, err := filepath.Abs("boot.sh")
	if err != nil {
		tb.Fatal(err)
	}
	root := filepath.Join(dir, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		tb.Fatal(err)
	}
	name = fmt.Sprintf("%s-%d", name, os.Getpid())
	cmd := ns.Command(script, root, name)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { m.end(cmd, name) })
	nstest.Wait(tb, 10*time.Second, "systemd", func() bool {
		m.init = child(cmd.Process.Pid)
		return m.init != 0 && m.command("systemctl is-active --quiet machine.target").Run() == nil
	})
	return m
}

// end kills the first process, and with it the others, and removes their control groups.
func (m *machine) end(cmd *exec.Cmd, name string) {
	if m.tb.Failed() {
		text, _ := os.ReadFile(m.log)
		m.tb.Logf("machine %s:\n%s", name, text[max(0, len(text)-20000):])
	}
	cmd.Process.Kill() // unshare --kill-child
	cmd.Wait()
	mount := m.tb.TempDir()
	if exec.Command("mount", "-t", "cgroup2", "cgroup2", mount).Run() != nil {
		return
	}
	defer exec.Command("umount", mount).Run()
	group := filepath.Join(mount, "hyperfib-"+name)
	nstest.Promptly(5*time.Second, func() bool {
		exec.Command("find", group, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";").Run()
		_, err := os.Stat(group)
		return err != nil
	})
}

// child is the first child of a process, 0 if it has none.
func child(pid int) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	first, _, _ := strings.Cut(string(text), " ")
	n, _ := strconv.Atoi(first)
	return n
}

// command prepares a line for the machine's shell, run as root in its home directory.
func (m *machine) command(line string) *exec.Cmd {
	cmd := exec.Command("nsenter", "-t", strconv.Itoa(m.init), "-m", "-p", "-n", "-u", "-i", "-C", "-r", "-w",
		"bash", "-c", "cd /root; "+line)
	cmd.Env = []string{"HOME=/root", "LANG=C.UTF-8", "TERM=dumb", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive"}
	return cmd
}

// do runs a line that must succeed, and returns what it printed.
func (m *machine) do(line string) string {
	m.tb.Helper()
	out, err := m.command(line).CombinedOutput()
	if err != nil {
		m.tb.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// put writes a file of the machine.
func (m *machine) put(path string, content io.Reader) {
	m.tb.Helper()
	cmd := m.command("cat >" + path)
	cmd.Stdin = content
	if out, err := cmd.CombinedOutput(); err != nil {
		m.tb.Fatalf("%s: %v: %s", path, err, out)
	}
}

// write is put of a text.
func (m *machine) write(path, text string) {
	m.tb.Helper()
	m.put(path, bytes.NewReader([]byte(text)))
}

// wait waits until a line of the machine's shell succeeds.
func (m *machine) wait(line string) {
	m.tb.Helper()
	var out []byte
	defer func() {
		if m.tb.Failed() {
			m.tb.Logf("%s: %s", line, out)
		}
	}()
	nstest.Wait(m.tb, 20*time.Second, line, func() bool {
		var err error
		out, err = m.command(line).CombinedOutput()
		return err == nil
	})
}
