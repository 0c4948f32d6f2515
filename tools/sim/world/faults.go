package world

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"golang.org/x/sys/unix"
)

// errWords is returned for an input that is not understood.
var errWords = errors.New("not understood")

// inputs are what a scenario can do to a world, by their first word. Each takes the words after
// it. What makes no sense at the moment (the start of a daemon that runs) does nothing, so that
// a scenario can be made shorter by leaving lines out.
var inputs = map[string]func(w *World, words []string) error{
	"cut":      (*World).cut,
	"heal":     (*World).heal,
	"carrier":  (*World).carrierInput,
	"impair":   (*World).impair,
	"stall":    (*World).stall,
	"reset":    (*World).reset,
	"die":      perHost((*hypervisor).die),
	"boot":     perHost((*hypervisor).boot),
	"kill":     perHost((*hypervisor).killDaemon),
	"start":    perHost((*hypervisor).startDaemon),
	"stop":     perHost((*hypervisor).stopDaemon),
	"cont":     perHost((*hypervisor).contDaemon),
	"slow":     (*World).slow,
	"bfd":      (*World).bfdInput,
	"rr":       (*World).rrInput,
	"guest":    (*World).guestInput,
	"kernel":   (*World).kernelInput,
	"foreign":  (*World).foreign,
	"clock":    (*World).clockInput,
	"reload":   (*World).reload,
	"drain":    perHost((*hypervisor).drain),
	"undrain":  perHost((*hypervisor).undrain),
	"everyone": (*World).everyone,
	"step":     (*World).step,
}

// ends reports whether an input is the end of a fault, or no fault.
func ends(words []string) bool {
	switch what := words[0] + " " + word(words, 1); what {
	case "bfd start", "bfd cont", "rr start", "rr cold", "rr cont", "guest unclaim", "guest come":
		return true
	}
	switch last := words[len(words)-1]; words[0] {
	case "heal", "boot", "start", "cont", "undrain", "everyone", "step":
		return true
	case "carrier":
		return last == "up"
	case "slow":
		return last == "0s"
	}
	return false
}

// Do carries out one input of a scenario.
func (w *World) Do(words []string) error {
	f := inputs[words[0]]
	if f == nil {
		return errWords
	}
	w.note("%s", strings.Join(words, " "))
	w.Counts.Inputs++
	if !ends(words) {
		w.Counts.Faults++
	}
	if err := f(w, words[1:]); err != nil {
		return err
	}
	w.look()
	if w.steps != nil {
		w.answer()
	}
	return nil
}

// perHost makes an input of what is done to one hypervisor.
func perHost(do func(*hypervisor)) func(*World, []string) error {
	return func(w *World, words []string) error {
		h, err := w.hostNamed(words, 0)
		if err == nil {
			do(h)
		}
		return err
	}
}

func (w *World) hostNamed(words []string, i int) (*hypervisor, error) {
	if i < len(words) {
		for _, h := range w.hosts {
			if h.name == words[i] {
				return h, nil
			}
		}
	}
	return nil, fmt.Errorf("%w: a hypervisor is missing", errWords)
}

// slow makes a daemon take some time for everything that it does, "0s" ends it.
func (w *World) slow(words []string) error {
	h, err := w.hostNamed(words, 0)
	if err != nil || len(words) < 2 {
		return errors.Join(err, errWords)
	}
	d, err := time.ParseDuration(words[1])
	if err != nil || h.daemon.state != running {
		return err
	}
	h.setSlow(d)
	return nil
}

// bfdInput is what happens to a BFD process: kill, start, stop, cont, handover and, while that is
// under way, kill-successor and kill-predecessor.
func (w *World) bfdInput(words []string) error {
	h, err := w.hostNamed(words, 1)
	if err != nil {
		return err
	}
	switch words[0] {
	case "kill":
		h.killBFD()
	case "start":
		h.startBFD()
	case "stop":
		h.stopBFD()
	case "cont":
		h.contBFD()
	case "handover":
		if len(words) > 2 {
			return h.takeOver(words[2:])
		}
		h.handover()
	case "kill-successor", "kill-predecessor":
		h.killEnd(words[0] == "kill-successor")
	default:
		return errWords
	}
	return nil
}

// rrInput is what happens to the reflectors of a fabric: kill, start, cold (a start that is no
// restart), stop, cont.
func (w *World) rrInput(words []string) error {
	found := false
	for i, net := range networks {
		if name := word(words, 1); name == net.name || name == net.fabric {
			found = true
			switch r := w.reflectors[i]; words[0] {
			case "kill":
				r.kill()
			case "start":
				r.start(false)
			case "cold":
				r.start(true)
			case "stop":
				r.stop()
			case "cont":
				r.cont()
			default:
				return errWords
			}
		}
	}
	if !found {
		return errWords
	}
	return nil
}

// guestInput is what happens to guests: "guest come g7 h1", "guest go g7", "guest move g7 h2",
// "guest claim g7 h2" (a second hypervisor has it in its inventory, and has not got it),
// "guest unclaim g7 h2".
func (w *World) guestInput(words []string) error {
	n, err := strconv.Atoi(strings.TrimPrefix(word(words, 1), "g"))
	if err != nil {
		return errWords
	}
	switch words[0] {
	case "go":
		w.guestGoes(n)
		return nil
	case "come", "move", "claim", "unclaim":
		h, err := w.hostNamed(words, 2)
		if err != nil {
			return err
		}
		switch words[0] {
		case "come":
			w.guestComes(n, h)
		case "move":
			w.guestMoves(n, h)
		default:
			w.guestClaimed(n, h, words[0] == "claim")
		}
		return nil
	}
	return errWords
}

func word(words []string, i int) string {
	if i < len(words) {
		return words[i]
	}
	return ""
}

// kernelInput makes the kernel of a host worse for a while: "lose h N" loses notifications,
// "late h N" keeps them back for N times 100 ms, "copy h N" doubles them, "interrupt h N" marks
// dumps as interrupted meanwhile, and they lack an entry; "refuse h N ERRNO" refuses the next N
// requests.
func (w *World) kernelInput(words []string) error {
	h, err := w.hostNamed(words, 1)
	n := number(word(words, 2))
	if err != nil || n < 1 {
		return errors.Join(err, errWords)
	}
	if !h.alive {
		return nil
	}
	f, boots := h.faults, h.boots
	whole := func(undo func()) {
		w.after(time.Duration(n)*100*time.Millisecond, func() {
			if h.boots == boots && h.alive {
				undo()
				h.kernel.Wake()
				h.kick()
			}
		})
	}
	switch end := w.now + time.Duration(n)*100*time.Millisecond; words[0] {
	case "lose", "late":
		h.unheard = max(h.unheard, end)
	case "interrupt":
		h.unheard = max(h.unheard, end+rereadTime)
	}
	switch words[0] {
	case "lose":
		f.LoseNotification = 2
		whole(func() { f.LoseNotification = 0 })
	case "late":
		f.Late = true
		whole(func() { f.Late = false })
	case "copy":
		f.Twice = true
		whole(func() { f.Twice = false })
	case "interrupt":
		f.Interrupted = map[uint16]int{}
		for _, typ := range dumped {
			f.Interrupted[typ] = 1 << 30
		}
		whole(func() { f.Interrupted = nil })
	case "refuse":
		errno, ok := errnos[word(words, 3)]
		if !ok {
			return errWords
		}
		f.Errno, f.ErrnoLeft = errno, n
	default:
		return errWords
	}
	h.kernelTrouble("the kernel is late, loses notifications or refuses: 10 s", time.Duration(n)*100*time.Millisecond+10*time.Second)
	return nil
}

// rereadTime is how long the FIB may wait until it begins an interrupted dump again.
const rereadTime = 20 * time.Millisecond

// dumped are the dumps that may be interrupted.
var dumped = []uint16{unix.RTM_GETLINK, unix.RTM_GETADDR, unix.RTM_GETNEIGH, unix.RTM_GETRULE, unix.RTM_GETNEXTHOP, unix.RTM_GETROUTE}

var errnos = map[string]map[uint16]unix.Errno{
	"ENOBUFS": {0: unix.ENOBUFS}, "ENOMEM": {0: unix.ENOMEM}, "EBUSY": {0: unix.EBUSY},
	"EINVAL": {0: unix.EINVAL}, "ENODEV": {unix.RTM_NEWROUTE: unix.ENODEV}, // of a deletion it says that nothing is there
}

func number(s string) (n int) {
	_, _ = fmt.Sscan(s, &n)
	return n
}

// clockInput sets the clock of a host: "clock h1 1h".
func (w *World) clockInput(words []string) error {
	h, err := w.hostNamed(words, 0)
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(word(words, 1))
	h.skew += d
	return err
}

// reload has a daemon read another configuration: the same one, a good one, one that cannot be
// parsed, one that loses an uplink.
func (w *World) reload(words []string) error {
	h, err := w.hostNamed(words, 0)
	if err != nil {
		return err
	}
	next := h.settings
	change := ""
	switch word(words, 1) {
	case "same":
	case "good":
		next.firewall = "hv" + fmt.Sprint(w.random.IntN(3))
	case "interval":
		next.bfd = time.Duration(number(word(words, 2))) * w.config.BFD
	case "hold":
		next.hold = time.Duration(number(word(words, 2))) * time.Second
	case "community":
		next.community = number(word(words, 2))
	case "unreachable":
		next.unreachable = number(word(words, 2))
	case "bad", "harmful":
		change = words[1]
	default:
		return errWords
	}
	text := w.config.yaml(h.number, next)
	switch change {
	case "bad":
		text = strings.Replace(text, "domains:", "domains: [", 1)
	case "harmful":
		text = strings.Replace(text, "fabric: B, interface: b.public", "fabric: B, interface: b.private", 1)
	}
	c, err := config.Parse(h.name+".yaml", []byte(text), nil)
	if err != nil {
		w.note("%s: the file is refused: %v", h.name, err)
		return nil
	}
	h.api(nil, func() error {
		_, err := h.core.Reload(c, false)
		if err == nil {
			h.reloaded(next)
		}
		return err
	})
	return nil
}
