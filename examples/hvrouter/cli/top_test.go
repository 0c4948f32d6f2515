package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/journal"
	"github.com/hyperfib/hyperfib/examples/hvrouter/overview"
)

// moment is a moment of a host with so many fabrics.
func moment(fabrics int) overview.Moment {
	at := time.Date(2026, 11, 29, 21, 0, 0, 0, time.UTC)
	s := overview.Moment{At: at, Status: api.Status{PID: 4711, Started: at.Add(-26 * time.Hour), Writes: 1200}, Health: api.Health{State: api.Healthy}, Sent: map[string]uint64{"vm1": 100000, "vm2": 5}}
	for i := range fabrics {
		name, peer := fmt.Sprintf("%c.public", 'a'+i%26), addr(fmt.Sprintf("198.51.%d.126", 100+i))
		s.Sessions = append(s.Sessions, api.Session{Domain: "public", Interface: name, Local: addr("198.51.100.101"), Peer: peer, State: "Established", Since: at.Add(-90 * time.Minute), BFD: "Up",
			Families: []api.FamilyRoutes{{Family: "ipv4", Received: 5000, Advertised: 12}, {Family: "ipv6", Received: 200, Advertised: 12}}, Sent: &api.Messages{Update: 40}, Received: &api.Messages{Update: uint64(9000 + i)}})
		s.BFD = append(s.BFD, api.BFD{Interface: name, Peer: peer, State: "Up", Since: at.Add(-90 * time.Minute), Interval: "100ms", Detect: "500ms", Downs: 1, LastDown: at.Add(-91 * time.Minute), LastDownReason: "expired"})
	}
	for i, present := range []bool{true, true, false} {
		name := fmt.Sprint("vm", i+1)
		s.Guests = append(s.Guests, api.Guest{Guest: config.Guest{Name: name, Interface: name}, Present: present})
	}
	for i := range 12 {
		s.Events = append(s.Events, journal.Event{Time: at.Add(time.Duration(i-12) * time.Second), Level: "INFO", Name: "guest-attached", Attrs: map[string]string{"guest": fmt.Sprint("vm", i), "interface": fmt.Sprint("vnet", i)}})
	}
	return s
}

// broken is the moment after, with a session down, whose peer has sent control characters.
func broken(fabrics int) overview.Moment {
	s := moment(fabrics)
	s.At = s.At.Add(2 * time.Second)
	s.Status.Writes, s.Sent["vm1"] = 1300, 103000
	last := len(s.Sessions) - 1
	s.Sessions[0].Received = &api.Messages{Update: 9100}
	s.Sessions[last].State, s.Sessions[last].BFD, s.Sessions[last].Error, s.Sessions[last].Since = "Active", "Down", "Cease: \x1b[2Jmaintenance of the reflector until nine o'clock", s.At.Add(-3*time.Second)
	s.BFD[last].State, s.BFD[last].Since, s.BFD[last].LastDown, s.BFD[last].LastDownReason = "Down", s.At.Add(-3*time.Second), s.At.Add(-3*time.Second), "neighbor down"
	s.Health = api.Health{State: api.Degraded, Reasons: []api.Reason{{Level: api.Degraded, Kind: "session-down", Text: "the session with 198.51.101.126 on b.public is Active"}, {Level: api.Degraded, Kind: "bfd-down", Text: "x"}}}
	s.Events = append(s.Events, journal.Event{Time: s.At.Add(-3 * time.Second), Level: "WARN", Name: "bfd-down", Attrs: map[string]string{"interface": "b.public", "peer": "198.51.101.126", "reason": "neighbor down"}})
	return s
}

// TestTopScreens: what is shown, without a terminal.
func TestTopScreens(t *testing.T) {
	gone := moment(2)
	gone.At, gone.Err = gone.At.Add(time.Minute), errors.New("no daemon answers at /run/hvrouter/api.sock")
	for _, x := range []struct {
		name          string
		screen        topScreen
		width, height int
	}{
		{"start", topScreen{now: moment(2)}, 80, 24},
		{"broken", topScreen{now: broken(2), before: moment(2)}, 80, 24},
		{"colour", topScreen{now: broken(2), before: moment(2), colour: true}, 80, 24},
		{"many-by-updates", topScreen{now: broken(30), before: moment(30), order: 3}, 80, 24},
		{"many-by-state", topScreen{now: broken(30), before: moment(30)}, 120, 40},
		{"paused", topScreen{now: moment(2), before: moment(2), paused: true, order: 1}, 80, 24},
		{"gone", topScreen{now: gone, before: moment(2)}, 80, 24},
		{"small", topScreen{now: broken(4), before: moment(4)}, 40, 10},
		{"nothing", topScreen{}, 80, 24},
	} {
		lines := x.screen.render(x.width, x.height)
		if len(lines) != x.height {
			t.Errorf("%s: %d lines, want %d", x.name, len(lines), x.height)
		}
		for i, line := range lines {
			if n := len([]rune(colourless.ReplaceAllString(line, ""))); n > x.width || strings.ContainsAny(colourless.ReplaceAllString(line, ""), "\x1b\n\r") {
				t.Errorf("%s, line %d: %q", x.name, i, line)
			}
		}
		golden(t, "top-"+x.name, strings.ReplaceAll(strings.Join(lines, "\n"), "\x1b", "ESC")+"\n")
	}
	for _, width := range []int{0, 1, 12, 39, 40, 41, 80, 129} {
		for height := range 45 {
			if lines := (&topScreen{now: broken(30), before: moment(30)}).render(width, height); len(lines) > max(1, height) {
				t.Fatalf("%dx%d: %d lines", width, height, len(lines))
			}
		}
	}
}

var colourless = regexp.MustCompile("\x1b\\[[0-9]*m")

var update = flag.Bool("update", false, "write the golden files")

// golden compares a text with a file of testdata.
func golden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || string(want) != text {
		t.Errorf("%s: have\n%s\nwant\n%s\n%v", path, text, want, err)
	}
}

// terminal opens a pseudo terminal of a size.
func terminal(t *testing.T, width, height uint16) (master, slave *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: height, Col: width}); err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	master = os.NewFile(uintptr(fd), "ptmx")
	t.Cleanup(func() { slave.Close(); master.Close() })
	return master, slave
}

// display is what a terminal shows, of the sequences that top writes.
type display struct {
	screen []string
	modes  []string // other sequences, in their order
	rest   string
}

var sequence = regexp.MustCompile("\x1b\\[[?0-9;]*[A-Za-z]")

// write takes output. A screen begins at home and ends where the rest is erased.
func (d *display) write(text string) {
	d.rest += text
	for {
		begin := strings.Index(d.rest, home)
		end := strings.Index(d.rest, endOfScreen)
		if begin < 0 || end < begin {
			break
		}
		d.modes = append(d.modes, sequence.FindAllString(d.rest[:begin], -1)...)
		body := strings.ReplaceAll(d.rest[begin+len(home):end], endOfLine, "")
		d.screen = strings.Split(colourless.ReplaceAllString(body, ""), "\r\n")
		d.rest = d.rest[end+len(endOfScreen):]
	}
}

// TestTop works with top through a pseudo terminal: what it shows of a daemon, its keys, another size of
// the terminal, and the terminal being as before in the end.
func TestTop(t *testing.T) {
	t.Setenv("TERM", "xterm")
	f := &fake{}
	socket := filepath.Join(t.TempDir(), "api.sock")
	serve(t, f, socket)
	master, slave := terminal(t, 80, 24)
	before, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	var d display
	output := make(chan string)
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, err := master.Read(buf)
			if err != nil {
				close(output)
				return
			}
			output <- string(buf[:n])
		}
	}()
	code := make(chan int, 1)
	go func() {
		code <- main([]string{"top", "-api", socket, "-d", "100ms"}, invocation{stdin: slave, stdout: slave, stderr: slave})
	}()
	shows := func(what string, cond func(screen string) bool) {
		t.Helper()
		limit := time.After(20 * time.Second)
		for {
			if text := strings.Join(d.screen, "\n"); text != "" && cond(text) {
				return
			}
			select {
			case text := <-output:
				d.write(text)
			case <-limit:
				t.Fatalf("%s: the screen is\n%s", what, strings.Join(d.screen, "\n"))
			}
		}
	}
	shows("the session, an event and rates", func(s string) bool {
		return strings.Contains(s, "198.51.100.126  a.public") && strings.Contains(s, "bfd-down") && strings.Contains(s, "kernel writes 0, 0/s")
	})
	text := regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`).ReplaceAllString(strings.Join(d.screen, "\n"), "DATE      TIME    ")
	text = regexp.MustCompile(`\b1m3\ds`).ReplaceAllString(text, "1m30s")
	text = regexp.MustCompile(`\d\d:\d\d:00 `).ReplaceAllString(text, "00:00:00 ")
	golden(t, "top-pty", text+"\n")
	_, _ = master.Write([]byte("s"))
	shows("another order", func(s string) bool { return strings.Contains(s, "s sorted by peer") })
	_, _ = master.Write([]byte("p"))
	shows("paused", func(s string) bool { return strings.Contains(s, "PAUSED") && strings.Contains(s, "p go on") })
	_, _ = master.Write([]byte("p"))
	shows("going on", func(s string) bool { return !strings.Contains(s, "PAUSED") })
	if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 12, Col: 60}); err != nil {
		t.Fatal(err)
	}
	shows("a smaller terminal", func(s string) bool { return strings.Count(s, "\n") == 11 })
	_, _ = master.Write([]byte("xq"))
	deadline := time.After(20 * time.Second)
	for done := false; !done; {
		select {
		case text := <-output:
			d.write(text)
		case c := <-code:
			if c != exitOK {
				t.Errorf("exit code %d", c)
			}
			done = true
		case <-deadline:
			t.Fatal("q does not end it")
		}
	}
	for d.rest != leaveScreen {
		select {
		case text := <-output:
			d.write(text)
		case <-deadline:
			t.Fatalf("the end of the output is %q", d.rest)
		}
	}
	if got := strings.Join(d.modes, ""); got != enterScreen {
		t.Errorf("sequences: %q", got)
	}
	after, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil || *after != *before {
		t.Errorf("the terminal is %+v, was %+v: %v", after, before, err)
	}
}

func TestTopWithoutTerminal(t *testing.T) {
	var stderr strings.Builder
	if code := main([]string{"top"}, invocation{stdin: strings.NewReader(""), stdout: &stderr, stderr: &stderr}); code != exitUsage || !strings.Contains(stderr.String(), "top needs a terminal") {
		t.Errorf("%d, %s", code, stderr.String())
	}
}

// serve answers as a daemon until the test ends.
func serve(t *testing.T, f *fake, socket string) {
	t.Helper()
	l, err := api.Listen(socket, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- api.ServeOn(ctx, l, &api.Access{}, f) }()
	t.Cleanup(func() { cancel(); <-ended })
}
