package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"path/filepath"
	"strings"

	"github.com/hyperfib/hyperfib/examples/hvrouter/files"
	"github.com/hyperfib/hyperfib/examples/hvrouter/overlay"
)

// keptSize is how long the file of what EVPN keeps may be, in octets: more than a hypervisor has guests.
const keptSize = 16 << 20

// evpnFile is where [overlay.Kept] outlives the daemon. It does not outlive the host: then all guests have come.
type evpnFile struct{ path, boot string }

// keptFile is the file's content.
type keptFile struct {
	Boot string    `json:"boot"` // the kernel's random boot_id
	MACs []keptMAC `json:"macs"`
}

type keptMAC struct {
	Overlay  string `json:"overlay"`
	MAC      string `json:"mac"`
	IfIndex  int    `json:"ifindex"`
	Sequence uint32 `json:"sequence"`
}

func newEVPNFile(directory string) (f evpnFile, err error) {
	boot, err := files.ReadRegular("/proc/sys/kernel/random/boot_id", 64)
	return evpnFile{filepath.Join(directory, "evpn"), strings.TrimSpace(string(boot))}, err
}

// load returns what an earlier run has kept since the host has started. If that cannot be known, guests that are here
// have come, as after a start of the host.
func (f evpnFile) load(ctx context.Context, log *slog.Logger) []overlay.Kept {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	list, err := f.read(ctx)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("which guests were here before the restart is not known: they take over what other VTEPs have announced meanwhile", "event", "evpn-unknown", "path", f.path, "err", err)
	}
	return list
}

func (f evpnFile) read(ctx context.Context) ([]overlay.Kept, error) {
	data, err := (&files.Reader{}).Read(ctx, f.path, keptSize)
	if err != nil {
		return nil, err
	}
	var content keptFile
	if err := json.Unmarshal(data, &content); err != nil {
		return nil, err
	}
	if content.Boot != f.boot {
		return nil, nil
	}
	list := make([]overlay.Kept, 0, len(content.MACs))
	for _, m := range content.MACs {
		mac, err := net.ParseMAC(m.MAC)
		if err != nil || len(mac) != len(overlay.MAC{}) || m.Overlay == "" || m.IfIndex <= 0 {
			return nil, fmt.Errorf("it has %+v", m)
		}
		list = append(list, overlay.Kept{Overlay: m.Overlay, MAC: overlay.MAC(mac), IfIndex: m.IfIndex, Sequence: m.Sequence})
	}
	return list, nil
}

// save makes what is to be kept outlive the daemon.
func (f evpnFile) save(list []overlay.Kept) error {
	content := keptFile{f.boot, make([]keptMAC, 0, len(list))}
	for _, k := range list {
		content.MACs = append(content.MACs, keptMAC{k.Overlay, k.MAC.String(), k.IfIndex, k.Sequence})
	}
	data, err := json.Marshal(content)
	if err != nil {
		return err
	}
	last, err := files.Replace(f.path, append(data, '\n'))
	if err != nil {
		return err
	}
	return last()
}

// writer returns what writes it.
func (f evpnFile) writer(d *Daemon) stateWriter {
	return stateWriter{
		loop: d.loop, changed: d.router.evpn.keep,
		take: func() func() error {
			list := d.router.evpn.core.Kept()
			return func() error { return f.save(list) }
		},
		report: func(err error) {
			if err != nil {
				d.log.Warn("where guests' MACs are is not kept over a restart", "event", "evpn-unwritten", "err", err)
			} else {
				d.log.Info("where guests' MACs are is kept again", "event", "evpn-written")
			}
		},
	}
}
