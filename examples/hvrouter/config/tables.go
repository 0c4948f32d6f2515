package config

import (
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// TableNames maps the names of routing tables to their numbers.
type TableNames map[string]uint32

// HostTables reads /etc/iproute2/rt_tables and rt_tables.d/*.conf, and those below
// /usr/share/iproute2 that newer distributions use; later files win, files that
// are missing count for nothing.
func HostTables() TableNames {
	names := TableNames{}
	for _, dir := range []string{"/usr/share/iproute2", "/etc/iproute2"} {
		names.read(filepath.Join(dir, "rt_tables"))
		more, _ := filepath.Glob(filepath.Join(dir, "rt_tables.d", "*.conf"))
		sort.Strings(more)
		for _, file := range more {
			names.read(file)
		}
	}
	return names
}

func (t TableNames) read(file string) {
	if data, err := os.ReadFile(file); err == nil {
		t.Add(string(data))
	}
}

// Add takes lines in the format of rt_tables: a number (also 0x...), a name, and
// comments after '#'. Lines that make no sense are skipped, as iproute2 does.
func (t TableNames) Add(text string) {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		if id, err := strconv.ParseUint(fields[0], 0, 32); err == nil && id > 0 {
			t[fields[1]] = uint32(id)
		}
	}
}
