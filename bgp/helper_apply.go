package bgp

// applyHelp does to the paths what graceful restart wants.
func (p *peer) applyHelp() {
	phase := p.help.phase
	for _, st := range p.help.steps() {
		if p.in == nil {
			continue
		}
		switch st.action {
		case helpDrop:
			p.in.Drop(st.family)
		case helpMark:
			p.in.MarkStale(st.family)
		case helpMarkLL:
			p.in.MarkLongLived(st.family)
		case helpSweep:
			p.in.Sweep(st.family)
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
