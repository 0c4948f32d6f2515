package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/wire"
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

// shown is what people see of a session.
type shown struct {
	Key      struct{ Addr string }
	State    string
	Since    time.Time
	Restart  string
	Families []struct {
		Family                wire.Family
		Paths, Stale, Counted int
		Limit                 string
		PrefixLimit           struct{ Maximum int }
	}
	LastError, LastLimit *struct {
		Time time.Time
		Text string
	}
	RefusedUntil time.Time
	BFDWait      *bgp.BFDWait
}

// table prints the sessions for people.
func table(in io.Reader, out io.Writer) error {
	var clients []shown
	if err := json.NewDecoder(in).Decode(&clients); err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CLIENT\tSTATE\tSINCE\tPATHS\tSTALE\tLIMIT\tRESTART\tLAST ERROR")
	for _, c := range clients {
		paths, stale := 0, 0
		for _, f := range c.Families {
			paths, stale = paths+f.Paths, stale+f.Stale
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\n", c.Key.Addr, c.State, ago(c.Since), paths, stale, c.limit(), c.Restart, c.lastError())
	}
	return w.Flush()
}

func ago(t time.Time) string { return time.Since(t).Round(time.Second).String() }

// limit says how much of the prefix limits is used up where that is worth a word.
func (c *shown) limit() string {
	var words []string
	for _, f := range c.Families {
		if f.PrefixLimit.Maximum > 0 && f.Limit != "within" {
			words = append(words, fmt.Sprintf("%s %s: %d of %d", f.Family, f.Limit, f.Counted, f.PrefixLimit.Maximum))
		}
	}
	return cmp.Or(strings.Join(words, ", "), "-")
}

// lastError is the newest error, after the prefix limit that keeps the client out.
func (c *shown) lastError() string {
	var words []string
	if c.LastLimit != nil && !c.RefusedUntil.IsZero() {
		words = append(words, fmt.Sprintf("out until %s: %s (%s ago)", c.RefusedUntil.Format(time.TimeOnly), c.LastLimit.Text, ago(c.LastLimit.Time)))
	}
	if w := c.BFDWait; w != nil {
		words = append(words, fmt.Sprintf("waits for BFD since %s", ago(w.Since)))
	}
	if c.LastError != nil && (c.LastLimit == nil || c.LastError.Time != c.LastLimit.Time) {
		words = append(words, fmt.Sprintf("%s (%s ago)", c.LastError.Text, ago(c.LastError.Time)))
	}
	return strings.Join(words, "; ")
}
