package bgp

import "github.com/hyperfib/hyperfib/bgp/fsm"

// applyHelp does to the paths what graceful restart wants.
func (p *peer) applyHelp() {
	phase := p.help.Phase()
	for _, st := range p.help.Effects() {
		if p.in == nil {
			continue
		}
		switch st.Action {
		case fsm.HelperDrop:
			p.in.Drop(st.Family)
		case fsm.HelperMarkStale:
			p.in.MarkStale(st.Family)
		case fsm.HelperMarkLongLived:
			p.in.MarkLongLived(st.Family)
		case fsm.HelperSweep:
			p.in.Sweep(st.Family)
		}
	}
	p.mu.Lock()
	changed := p.st.Restart != phase
	p.st.Restart = phase
	p.mu.Unlock()
	if changed {
		p.event(EventRestart, nil)
	}
}
