package bgp

// writeLoop sends one buffer at a time. A peer that does not read blocks this
// goroutine and nobody else.
func (c *conn) writeLoop() {
	defer close(c.silent)
	for {
		select {
		case b := <-c.tx:
			_, err := c.nc.Write(b)
			c.txDone <- written{b, err}
			if err != nil {
				<-c.quit
				return
			}
		case <-c.quit:
			c.finish()
			return
		}
	}
}

// finish sends the final NOTIFICATION, if there is one, and closes our half of
// the connection.
func (c *conn) finish() {
	if c.rude() {
		return
	}
	b := c.final
	select {
	case waiting := <-c.tx: // given to us, but not begun
		b = append(waiting, b...)
	default:
	}
	if len(b) > 0 {
		if _, err := c.nc.Write(b); err != nil {
			return
		}
	}
	if half, ok := c.nc.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
		c.wait(c.nc)
		return
	}
	c.nc.Close()
}
