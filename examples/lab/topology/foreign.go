package topology

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/lab/conf"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// foreignReflector prepares the processes of somebody else's reflector for one
// domain, in the order they are started.
func (top *Topology) foreignReflector(f plan.Fabric, private bool, name string) ([]*Daemon, error) {
	switch top.RRKind(f) {
	case Bird1:
		return top.bird1(f, private, name)
	case FRR, Quagga:
		return top.frr(f, private, name)
	case GoBGP, GoBGPNamed:
		return top.gobgp(f, private, name)
	case Junos:
		return top.junos(f, private), nil
	case OpenBGPD:
		return top.openbgpd(f, private, name)
	}
	return nil, errKind(top.RRKind(f))
}

// process prepares one program of a reflector.
func (top *Topology) process(f plan.Fabric, private bool, name, program string, args ...string) (*Daemon, error) {
	return top.installed(top.reflectorNode(f, private), top.RRKind(f), name, program, args...)
}

// installed prepares somebody else's program on a node.
func (top *Topology) installed(node string, kind Kind, name, program string, args ...string) (*Daemon, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, fmt.Errorf("%s is not installed: .ci/peers installs it", program)
	}
	return &Daemon{Name: name, Node: top.Nodes[node], Kind: kind,
		Log: top.file("log/" + name + ".log"), Args: append([]string{path}, args...)}, nil
}

// bird1 is one process a family. Debian cannot have both BIRDs installed, so 1.6
// is where the environment says, or where .ci/peers puts it.
func (top *Topology) bird1(f plan.Fabric, private bool, name string) ([]*Daemon, error) {
	dir := os.Getenv("HYPERFIB_BIRD1")
	if dir == "" {
		dir = ".cache/bird1/usr/sbin"
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	programs := map[int]string{4: "bird", 6: "bird6"}
	var out []*Daemon
	for _, family := range []int{4, 6} {
		if private && family == 6 {
			continue
		}
		name := name
		if family == 6 {
			name += "6"
		}
		path, err := top.Write("etc/"+name+".conf", conf.Bird1Reflector(f, private, family, top.Timing))
		if err != nil {
			return nil, err
		}
		d, err := top.process(f, private, name, filepath.Join(dir, programs[family]),
			"-f", "-c", path, "-s", top.file(name+".ctl"), "-P", top.file(name+".pid"))
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

func (top *Topology) frr(f plan.Fabric, private bool, name string) ([]*Daemon, error) {
	listen := []string{"-l", plan.RRPublic4(f).String(), "-l", plan.RRPublic6(f).String()}
	if private {
		listen = []string{"-l", plan.RRPrivate4(f).String()}
	}
	kind, bfdd := top.RRKind(f), ""
	if kind != Quagga {
		bfdd = conf.FrrBfdd(f, private, top.Timing)
	}
	return top.frrDaemons(top.reflectorNode(f, private), kind, name, bfdd, conf.FrrBgpd(f, private, kind == Quagga, top.Timing), listen...)
}

// frrDaemons are zebra, which carries what bgpd and bfdd say to each other, and those two, with
// their configurations; bfdd is left out without one. They run as FRR's own user in a directory of theirs.
// The last is bgpd, and has the name of the router.
func (top *Topology) frrDaemons(node string, kind Kind, name, bfdd, bgpd string, bgpdArgs ...string) ([]*Daemon, error) {
	const programs = "/usr/lib/frr"
	dir, err := top.owned("frr-"+name, "frr")
	if err != nil {
		return nil, err
	}
	var out []*Daemon
	for _, p := range []struct {
		program, config string
		args            []string
	}{
		{"zebra", "", nil},
		{"bfdd", bfdd, []string{"--bfdctl", filepath.Join(dir, "bfdd.ctl")}},
		{"bgpd", bgpd, bgpdArgs},
	} {
		if p.program == "bfdd" && bfdd == "" {
			continue
		}
		name := name
		if p.program != "bgpd" {
			name += "." + p.program
		}
		path, err := top.Write("etc/"+name+".conf", p.config)
		if err != nil {
			return nil, err
		}
		args := append([]string{"-u", "frr", "-g", "frr", "-f", path, "-P", "0", "--log", "stdout",
			"-i", filepath.Join(dir, p.program+".pid"), "-z", filepath.Join(dir, "zserv"), "--vty_socket", dir}, p.args...)
		d, err := top.installed(node, kind, name, filepath.Join(programs, p.program), args...)
		if err != nil {
			return nil, err
		}
		if p.program != "zebra" {
			d.after = filepath.Join(dir, "zserv")
		}
		out = append(out, d)
	}
	return out, nil
}

func (top *Topology) gobgp(f plan.Fabric, private bool, name string) ([]*Daemon, error) {
	path, err := top.Write("etc/"+name+".toml", conf.Gobgp(f, private, top.RRKind(f) == GoBGPNamed, top.Timing))
	if err != nil {
		return nil, err
	}
	api := "127.0.0.1:50051" // two of them share a namespace
	if private {
		api = "127.0.0.1:50052"
	}
	d, err := top.process(f, private, name, "gobgpd", "-f", path, "-t", "toml", "--pprof-disable", "--api-hosts", api)
	return []*Daemon{d}, err
}

// junos is one instance for both domains, started as the public one.
func (top *Topology) junos(f plan.Fabric, private bool) []*Daemon {
	if private {
		return nil
	}
	name := plan.RRName(f)
	return []*Daemon{{Name: name, Node: top.Nodes[name], Kind: Junos, Log: top.file("log/" + name + ".log"),
		Args: self(PartJunos, conf.JunosArgs(f, top.Timing)...)}}
}

// openbgpd changes its root to its user's home, which only its service makes.
func (top *Topology) openbgpd(f plan.Fabric, private bool, name string) ([]*Daemon, error) {
	const home = "/run/openbgpd"
	if err := os.MkdirAll(home, 0o755); err != nil {
		return nil, err
	}
	if err := unix.Mount("hyperfib-lab", home, "tmpfs", 0, "mode=755"); err != nil {
		return nil, fmt.Errorf("tmpfs on %s: %w", home, err)
	}
	path, err := top.Write("etc/"+name+".conf", conf.Openbgpd(f, private, top.file(name+".ctl")))
	if err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err != nil {
		return nil, err
	}
	d, err := top.process(f, private, name, "/usr/sbin/bgpd", "-d", "-f", path)
	return []*Daemon{d}, err
}

// owned makes a directory that belongs to a user of the system.
func (top *Topology) owned(name, owner string) (string, error) {
	u, err := user.Lookup(owner)
	if err != nil {
		return "", fmt.Errorf("%s is not installed: .ci/peers installs it (%w)", owner, err)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	dir := top.file(name)
	return dir, errors.Join(err1, err2, os.MkdirAll(dir, 0o755), os.Chown(dir, uid, gid))
}
