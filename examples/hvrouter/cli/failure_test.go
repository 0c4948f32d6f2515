package cli

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// answering is a daemon that answers each connection with the same text, whatever is asked, and closes it.
func answering(t *testing.T, socket, text string) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, text)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-ended })
}

// respond is an answer of HTTP.
func respond(status, body string) string {
	return fmt.Sprintf("HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", status, len(body), body)
}

// TestFailedAnswers: what `show health` says if it has no answer tells apart who is to blame, and only
// if nothing listens is it that no daemon runs. Other commands say the same and fail.
func TestFailedAnswers(t *testing.T) {
	const fails = "broken: failed-answer: a daemon was asked, and has not answered as it should: "
	own := fmt.Sprintf("the daemon (pid %d)", os.Getpid())
	for name, c := range map[string]struct {
		text string // "-": no socket
		code int
		want string
	}{
		"nothing there":      {"-", 2, "broken\nbroken: no-daemon: no daemon answers: no daemon runs, or it has another socket (-api): dial unix "},
		"too many clients":   {respond("503 Service Unavailable", `{"error": "256 connections are open: want no more"}`), 3, "unknown\nunknown: busy: the daemon runs and answers no more clients: 256 connections are open: want no more; `ss -xp` "},
		"another user":       {respond("403 Forbidden", `{"error": "user 7 may not use this daemon: root may, and no group (api-group)"}`), 3, "unknown\nunknown: not-permitted: user 7 may not use this daemon: root may, and no group (api-group)\n"},
		"a fault":            {respond("500 Internal Server Error", `{"error": "a table is broken"}`), 2, "broken\n" + fails + "a table is broken\n"},
		"a fault, no reason": {respond("500 Internal Server Error", ""), 2, "broken\n" + fails + "GET /v1/health: 500 Internal Server Error\n"},
		"no such resource":   {respond("404 Not Found", `{"error": "GET /v1/health: Not Found"}`), 2, fails + "GET /v1/health: Not Found\n"},
		"dies at once":       {"", 2, fails + own + " ended, or closed the connection, before it had answered\n"},
		"dies in the head":   {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n", 2, fails + own + " ended, or closed the connection, before it had answered\n"},
		"dies in the body":   {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", 2, fails + own + " ended, or closed the connection, before it had answered in full\n"},
		"dies in a chunk":    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", 2, fails + own + " ended, or closed the connection, before it had answered in full\n"},
		"null":               {respond("200 OK", "null\n"), 2, fails + "the daemon's answer is null\n"},
		"empty":              {respond("200 OK", ""), 2, fails + "the daemon's answer is empty\n"},
		"no state":           {respond("200 OK", "{}"), 2, fails + `the daemon's answer has no state that is known: ""` + "\n"},
		"no JSON":            {respond("200 OK", "<html>"), 2, fails + "the daemon's answer cannot be read: invalid character '<'"},
	} {
		t.Run(name, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "s")
			if c.text != "-" {
				answering(t, socket, c.text)
			}
			said := func(line string) (code int, out string) {
				var b bytes.Buffer
				code = main(append(strings.Fields(line), "-api", socket), invocation{stdin: strings.NewReader(""), stdout: &b, stderr: &b})
				return code, b.String()
			}
			code, out := said("show health")
			if code != c.code || !strings.Contains(out, c.want) || strings.Contains(out, "hvrouter check") != (c.text == "-") {
				t.Errorf("exit %d, want %d: %s, want %s", code, c.code, out, c.want)
			}
			kind := strings.Split(strings.TrimPrefix(out, "unknown\n"), ": ")[1]
			if code, out := said("show health -j"); code != c.code || !strings.Contains(out, `"kind": "`+kind+`"`) {
				t.Errorf("exit %d, want %d and %s: %s", code, c.code, kind, out)
			}
			for _, line := range []string{"show status", "show status -j", "show drain", "session reset x", "guest del x", "metrics", "reload", "reload -dry-run", "drain", "undrain", "show sessions", "watch", "explain 192.0.2.1 -config /none"} {
				switch {
				case name == "no state", line == "show sessions" && name == "null", line == "metrics" && (name == "null" || name == "no JSON"):
					continue // which may be an answer to that
				case c.text == "-" && strings.HasPrefix(line, "explain"):
					continue // it asks the kernel
				}
				code, out := said(line)
				if code == 0 || !strings.HasPrefix(out, "hvrouter: ") || strings.Contains(out, "EOF") {
					t.Errorf("%s: exit %d: %s", line, code, out)
				}
				changes := slices.Contains([]string{"session reset x", "guest del x", "reload", "drain", "undrain"}, line)
				if got := strings.Contains(out, "; what was asked for may have been done"); got != (changes && strings.HasPrefix(name, "dies")) {
					t.Errorf("%s: %s", line, out)
				}
			}
		})
	}
}

// TestNotPermitted: a user who may not open the socket learns nothing about the daemon, and is not
// told that none runs.
func TestNotPermitted(t *testing.T) {
	if socket := os.Getenv("ASK_AT"); socket != "" {
		os.Exit(main([]string{"show", "health", "-api", socket}, invocation{stdout: os.Stdout, stderr: os.Stderr}))
	}
	dir, err := os.MkdirTemp("/tmp", "cli") // t.TempDir is its user's alone
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	copied, socket := filepath.Join(dir, "test"), filepath.Join(dir, "s")
	for _, err := range []error{os.Chmod(dir, 0o755), os.WriteFile(copied, program, 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	serve(t, &fake{}, socket)
	cmd := exec.Command(copied, "-test.run=^TestNotPermitted$")
	cmd.Env = append(os.Environ(), "ASK_AT="+socket)
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65533, Gid: 65533}}
	} else if err := os.Chmod(socket, 0); err != nil {
		t.Fatal(err)
	}
	cmd.Dir = "/"
	out, _ := cmd.CombinedOutput()
	want := "unknown\nunknown: not-permitted: " + socket + ": permission denied: root may use it\n"
	if code := cmd.ProcessState.ExitCode(); code != 3 || string(out) != want {
		t.Errorf("exit %d, want 3: %s, want %s", code, out, want)
	}
}
