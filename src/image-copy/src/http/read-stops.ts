/** A connection whose sink takes no more. */
export interface Stoppable {
  /** Stops its reading, unless the sink goes on meanwhile. */
  stopReading(): void
}

/**
 * Stops, at the end of a turn of the event loop, the reading of connections whose sinks take no more. Most sinks go on within
 * the turn, and to stop a socket and to have it read again costs as much as a small read.
 */
export class ReadStops {
  #connections: Stoppable[] = []

  add(connection: Stoppable): void {
    if (this.#connections.push(connection) === 1) setImmediate(this.#stop)
  }

  readonly #stop = (): void => {
    const connections = this.#connections
    this.#connections = []
    for (const connection of connections) connection.stopReading()
  }
}
