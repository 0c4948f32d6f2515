package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/overview"
)

// Sequences of a terminal (ECMA-48, Sections 8.3.21 and 8.3.41; the screen of its own is xterm's).
const (
	enterScreen = "\x1b[?1049h\x1b[?25l" // and without a cursor
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	endOfLine   = "\x1b[K"
	endOfScreen = "\x1b[J"
)

// top shows what the daemon does, anew each second, until q.
func top(in invocation) int {
	fs := in.flags("top")
	socket := in.api(fs)
	every := fs.Duration("d", time.Second, "look again after `TIME`")
	if _, ok := in.words(fs, 0, 0); !ok {
		return exitUsage
	}
	input, ok1 := in.stdin.(*os.File)
	output, ok2 := outputFile(in.stdout)
	if !ok1 || !ok2 || !term.IsTerminal(int(input.Fd())) || !term.IsTerminal(int(output.Fd())) {
		return in.fail(exitUsage, errors.New("top needs a terminal; `hvrouter show sessions -w` and `hvrouter watch` do not"))
	}
	if *every < 100*time.Millisecond {
		return in.fail(exitUsage, fmt.Errorf("-d %v: want 100ms at least", *every))
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	before, err := term.MakeRaw(int(input.Fd()))
	if err != nil {
		return in.fail(exitFailed, err)
	}
	defer term.Restore(int(input.Fd()), before)
	fmt.Fprint(output, enterScreen)
	defer fmt.Fprint(output, leaveScreen)
	w := overview.NewWatcher(api.NewClient(*socket))
	go w.Follow(ctx)
	keys := make(chan byte)
	go readKeys(ctx, input, keys)
	if err := showTop(ctx, w, output, keys, *every); err != nil {
		return exitFailed // the terminal is gone
	}
	return exitOK
}

// readKeys passes on what is typed, until that ends.
func readKeys(ctx context.Context, r io.Reader, keys chan<- byte) {
	defer close(keys)
	buf := make([]byte, 16)
	for {
		n, err := r.Read(buf)
		for _, k := range buf[:n] {
			select {
			case keys <- k:
			case <-ctx.Done():
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// showTop draws the screen until q, Ctrl-C or the end of ctx.
func showTop(ctx context.Context, w *overview.Watcher, out *os.File, keys <-chan byte, every time.Duration) error {
	screen := topScreen{colour: colours(out)}
	tick := time.NewTicker(every)
	defer tick.Stop()
	look := func() {
		next := w.Look(ctx, screen.now)
		screen.before, screen.now = screen.now, next
	}
	for look(); ; {
		width, height, err := term.GetSize(int(out.Fd()))
		if err != nil {
			return err
		}
		if width == 0 || height == 0 { // a serial line does not say
			width, height = 80, 24
		}
		if err := draw(out, screen.render(width, height)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case k, ok := <-keys:
			switch {
			case !ok || k == 'q' || k == 'Q' || k == 3: // Ctrl-C, which is a key in this mode
				return nil
			case k == 's':
				screen.order = (screen.order + 1) % len(topOrders)
			case k == 'p':
				screen.paused = !screen.paused
			}
		case <-tick.C:
			if !screen.paused {
				look()
			}
		}
	}
}

// draw writes a screen over the one before, in one piece.
func draw(w io.Writer, lines []string) error {
	var b strings.Builder
	b.WriteString(home)
	for i, line := range lines {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(line + endOfLine)
	}
	b.WriteString(endOfScreen)
	_, err := io.WriteString(w, b.String())
	return err
}
