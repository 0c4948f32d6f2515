package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// TestConvert: the configuration on standard output, what it lacks on standard error, too, and in the
// exit code.
func TestConvert(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	routing := write("bird.conf", `router id 10.0.0.1; log syslog all;
protocol kernel { kernel table 7; learn; ipv4 { export all; }; }
protocol bgp r { local 10.0.0.1 as 65000; neighbor 10.0.0.2 as 65000; interface "eth0"; ipv4 { import all; export all; }; }
`)
	ra := write("radvd.conf", "interface vm1 { AdvSendAdvert on; };\n")
	more := write("more.conf", "protocol ospf { };\n")
	bad := write("bad.conf", "\nrouter id\n")
	for _, c := range []struct {
		args []string
		code int
		errs string
	}{
		{[]string{"-bird", routing, "-radvd", ra}, exitOK, ""},
		{[]string{"-bird", routing, "-bird", more, "-radvd", ra}, exitFailed, more + ":1: protocol ospf: hvrouter speaks BGP only\n"},
		{[]string{"-bird", bad}, exitUsage, "hvrouter: " + bad + `:2: "router id" has no semicolon and no block` + "\n"},
		{[]string{"-bird", filepath.Join(dir, "none")}, exitUsage, "hvrouter: open " + filepath.Join(dir, "none") + ": no such file or directory\n"},
		{nil, exitUsage, "hvrouter: convert: which files? `hvrouter help convert` says how they are given\n"},
		{[]string{routing}, exitUsage, "hvrouter: convert: unexpected " + `"` + routing + `"` + "\nhvrouter: `hvrouter help convert` says how it is used\n"},
	} {
		var out, errs strings.Builder
		code := main(append([]string{"convert"}, c.args...), invocation{stdin: strings.NewReader(""), stdout: &out, stderr: &errs})
		if code != c.code || errs.String() != c.errs {
			t.Errorf("%v: exit %d, %s", c.args, code, &errs)
		}
		if (out.Len() > 0) != (code != exitUsage) {
			t.Errorf("%v: %s", c.args, &out)
		}
		if code == exitUsage {
			continue
		}
		if loaded, err := config.Parse("f", []byte(out.String()), config.TableNames{}); err != nil || loaded.Domains[0].Table.ID != 7 || loaded.Guests[0].Name != "vm1" {
			t.Errorf("%v: %v\n%s", c.args, err, &out)
		}
	}
}
