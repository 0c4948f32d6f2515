package bgp

import "time"

// writeLoop sends one buffer at a time. A peer that does not read blocks this
// goroutine and nobody else.
func (c *conn) writeLoop() {
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
	if len(c.final) == 0 {
		return
	}
	c.nc.SetWriteDeadline(time.Now().Add(lingerTime))
	c.nc.Write(c.final)
	c.nc.SetReadDeadline(time.Now().Add(lingerTime)) // ends drain
	if half, ok := c.nc.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
		return
	}
	c.nc.Close()
}
