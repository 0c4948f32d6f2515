package app

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"text/tabwriter"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
)

// serve answers each connection to the socket with the sessions as JSON.
func serve(ctx context.Context, path string, s *bgp.Speaker) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		c.SetDeadline(time.Now().Add(time.Second))
		_ = json.NewEncoder(c).Encode(s.Peers())
		c.Close()
	}
}

// show prints what serve answers.
func show(args []string, out, errOut io.Writer) int {
	flags := flag.NewFlagSet("routereflector show", flag.ContinueOnError)
	flags.SetOutput(errOut)
	api := flags.String("api", "/run/routereflector.sock", "`path` of the reflector's socket")
	raw := flags.Bool("j", false, "print JSON")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	c, err := net.Dial("unix", *api)
	if err != nil {
		fmt.Fprintln(errOut, "routereflector:", err)
		return 1
	}
	defer c.Close()
	if *raw {
		_, err = io.Copy(out, c)
	} else {
		err = table(c, out)
	}
	if err != nil {
		fmt.Fprintln(errOut, "routereflector:", err)
		return 1
	}
	return 0
}

// table prints the sessions for people.
func table(in io.Reader, out io.Writer) error {
	var peers []struct {
		Key       struct{ Addr string }
		State     string
		Since     time.Time
		Restart   string
		Families  []struct{ Paths, Stale int }
		LastError *struct{ Text string }
	}
	if err := json.NewDecoder(in).Decode(&peers); err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CLIENT\tSTATE\tSINCE\tPATHS\tSTALE\tRESTART\tLAST ERROR")
	for _, p := range peers {
		paths, stale, last := 0, 0, ""
		for _, f := range p.Families {
			paths, stale = paths+f.Paths, stale+f.Stale
		}
		if p.LastError != nil {
			last = p.LastError.Text
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\t%s\n", p.Key.Addr, p.State, time.Since(p.Since).Round(time.Second), paths, stale, p.Restart, last)
	}
	return w.Flush()
}
