package edge

import "fmt"

// What is in this file is what the kernel refuses of what is kept.

// note notes whether something is as it shall be: if it is not, it is compared later.
func (k *keeper) note(s subject, err error) {
	if err == nil {
		delete(k.refusals, s)
		return
	}
	k.refusals[s] = err
	k.again(s)
}

// refused returns what is not as it shall be of an overlay, the first of it by its text; nil: nothing.
func (k *keeper) refused(name string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.refusal(name)
}

func (k *keeper) refusal(name string) error {
	var first error
	others := -1
	for s, err := range k.refusals {
		if s.overlay != name {
			continue
		}
		if others++; first == nil || err.Error() < first.Error() {
			first = err
		}
	}
	if others > 0 {
		return fmt.Errorf("%w (and %d more)", first, others)
	}
	return first
}

// fresh returns what refused does if that is otherwise than when it was last asked, and not nil.
func (k *keeper) fresh(name string) error {
	err := k.refusal(name)
	if err == nil {
		delete(k.told, name)
		return nil
	}
	if k.told[name] == err.Error() {
		return nil
	}
	k.told[name] = err.Error()
	return err
}
