package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/hyperfib/hyperfib/examples/hvrouter/convert"
)

// converted are the flags of convert, one for each kind of file.
var converted = []struct {
	kind convert.Kind
	help string
}{
	{convert.Bird, "a `FILE` of BIRD 2, or of the IPv4 process of BIRD 1.6"},
	{convert.Bird6, "a `FILE` of the IPv6 process of BIRD 1.6"},
	{convert.Radvd, "a `FILE` of radvd"},
	{convert.Ndppd, "a `FILE` of ndppd"},
	{convert.Dnsmasq, "a `FILE` of dnsmasq"},
	{convert.IP, "a `FILE` of what scripts have made, the output of: ip -j -d addr; ip -j -N rule; ip -6 -j -N rule; ip -j -N route show table all; ip -6 -j -N route show table all; ip -j neigh; bridge -j fdb"},
}

// sources is a flag that may be given several times; the order counts over all of them.
type sources struct {
	kind convert.Kind
	list *[]convert.Source
}

func (s sources) String() string { return "" }

func (s sources) Set(name string) error {
	*s.list = append(*s.list, convert.Source{Kind: s.kind, Name: name})
	return nil
}

// convertFiles makes a configuration of those of other programs.
func convertFiles(in invocation) int {
	flags := in.flags("convert")
	var list []convert.Source
	for _, k := range converted {
		flags.Var(sources{k.kind, &list}, string(k.kind), k.help+"; several times for several")
	}
	if _, ok := in.words(flags, 0, 0); !ok {
		return exitUsage
	}
	if len(list) == 0 {
		return in.fail(exitUsage, errors.New("convert: which files? `hvrouter help convert` says how they are given"))
	}
	for i := range list {
		data, err := readAll(list[i].Name)
		if err != nil {
			return in.fail(exitUsage, err)
		}
		list[i].Text = string(data)
	}
	r, err := convert.Convert(list)
	if err != nil {
		return in.fail(exitUsage, err)
	}
	if _, err := in.stdout.Write(r.YAML); err != nil {
		return in.fail(exitUsage, err)
	}
	for _, g := range r.Gaps {
		if !g.Note {
			fmt.Fprintln(in.stderr, g)
		}
	}
	if !r.Complete() {
		return exitFailed
	}
	return exitOK
}

// readAll reads a file, or a little more than convert takes of it.
func readAll(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, convert.MaxText+1))
}

var _ flag.Value = sources{}
