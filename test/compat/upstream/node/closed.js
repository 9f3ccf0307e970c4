// Preloaded for pg 4.5.7, which is older than Node 14: a socket that was never connected is "closed" again, not "open".
'use strict'
const net = require('net')
net.Stream = class extends net.Socket {
  get readyState() {
    return this._handle || this.connecting ? super.readyState : 'closed'
  }
}
