package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The test binary is the lab if it is told so, and as such starts itself again
// inside the sandbox and inside the nodes.
func TestMain(m *testing.M) {
	if os.Getenv("LAB_TEST_MAIN") != "" {
		os.Exit(run(os.Args[1:]))
	}
	os.Exit(m.Run())
}

func lab(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	if testing.Short() {
		t.Skip("makes network namespaces")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root to create network namespaces")
	}
	cmd := exec.Command("/proc/self/exe", append([]string{"-dir", dir}, args...)...)
	cmd.Env = append(os.Environ(), "LAB_TEST_MAIN=1")
	return cmd
}

// up starts a lab that stays up and waits until it says so. It returns the
// process id of the lab inside its sandbox.
func up(t *testing.T, dir string) (cmd *exec.Cmd, inner int) {
	t.Helper()
	cmd, inner, _ = upWith(t, dir, "until you press", "-hold", "-only", "sessions")
	return cmd, inner
}

// upWith does so with these flags, and waits until it says so much. It returns what was said, too.
func upWith(t *testing.T, dir, until string, args ...string) (cmd *exec.Cmd, inner int, output string) {
	t.Helper()
	cmd = lab(t, dir, args...)
	cmd.Stderr = os.Stderr
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	_ = r.SetReadDeadline(time.Now().Add(3 * time.Minute))
	var said strings.Builder
	for b := make([]byte, 4096); !strings.Contains(said.String(), until); {
		n, err := r.Read(b)
		said.Write(b[:n])
		if err != nil {
			t.Fatalf("%v; it said:\n%s", err, said.String())
		}
	}
	pid, err := os.ReadFile(dir + ".lock")
	if err != nil {
		t.Fatal(err)
	}
	if inner, err = strconv.Atoi(strings.TrimSpace(string(pid))); err != nil {
		t.Fatal(err)
	}
	return cmd, inner, said.String()
}

// gone waits until a process and its namespaces are gone, and checks that the
// directory is empty, no mount is left and the lock is free.
func gone(t *testing.T, dir string, inner int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !errors.Is(unix.Kill(inner, 0), unix.ESRCH); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the lab is still there after a minute")
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left in %s: %v %v", dir, left, err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), dir) {
		t.Errorf("a mount is left, or %v", err)
	}
	f, err := os.Open(dir + ".lock")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Errorf("the lock is held: %v", err)
	}
}

// Whatever ends the lab, nothing of it is left, and meanwhile there is no second.
func TestEnds(t *testing.T) {
	for _, signal := range []unix.Signal{unix.SIGINT, unix.SIGKILL} {
		t.Run(unix.SignalName(signal), func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "lab")
			cmd, inner := up(t, dir)
			out, err := lab(t, dir, "-only", "sessions").CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(out), "another lab is running") {
				t.Errorf("a second lab: %v, %s", err, out)
			}
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			gone(t, dir, inner)
		})
	}
}

// TestWeb: the page outside of the sandbox shows the hypervisors, and runs an experiment in it.
func TestWeb(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lab")
	cmd, inner, said := upWith(t, dir, "/\n", "-web", "127.0.0.1:0", "-only", "sessions")
	_, rest, _ := strings.Cut(said, "page: ")
	url, _, ok := strings.Cut(rest, "/\n")
	if !ok {
		t.Fatal(said)
	}
	var state struct {
		Experiments []struct{ Name string }
		Routers     []string
		Busy        string
		Lines       []string
	}
	look := func() {
		t.Helper()
		resp, err := http.Get(url + "/lab")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&state); err != nil {
			t.Fatal(err)
		}
	}
	if look(); !slices.Equal(state.Routers, []string{"hv1", "hv2", "hv3"}) || len(state.Experiments) < 20 {
		t.Errorf("%+v", state)
	}
	for deadline := time.Now().Add(time.Minute); state.Busy != ""; time.Sleep(50 * time.Millisecond) { // what it begins with
		if look(); time.Now().After(deadline) {
			t.Fatalf("busy for a minute: %+v", state)
		}
	}
	resp, err := http.Post(url+"/run/ping", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != http.StatusAccepted {
		t.Errorf("ping: %s", resp.Status)
	}
	for deadline := time.Now().Add(time.Minute); state.Busy != "" || !strings.Contains(strings.Join(state.Lines, "\n"), "pairs without an answer"); time.Sleep(50 * time.Millisecond) {
		if look(); time.Now().After(deadline) {
			t.Fatalf("no ping within a minute: %+v", state)
		}
	}
	stream, err := http.Get(url + "/hv2/state")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	if line, err := bufio.NewReader(stream.Body).ReadString('\n'); err != nil || strings.Count(line, `"state":"Established"`) != 6 {
		t.Errorf("hv2: %s, %v", line, err)
	}
	if err := cmd.Process.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	gone(t, dir, inner)
}
