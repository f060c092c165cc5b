// One run's events in order, each once: over the websocket, or server-sent events where no websocket gets through.

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;
const LAST_EVENTS = new Set(["RUN_FINISHED", "RUN_ERROR"]);
const TYPES = [
  "RUN_STARTED", "STATE_SNAPSHOT", "PLAN_READY", "PLAN_PREVIEW", "PLAN_REVISED", "INPUT_REQUIRED", "STEP_STARTED", "TOOL_CALL_START", "TOOL_CALL_ARGS",
  "TOOL_CALL_PROGRESS", "TOOL_CALL_LOG", "TOOL_CALL_RESULT", "STEP_FINISHED", "APPROVAL_REQUIRED",
  "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END", "RUN_FINISHED", "RUN_ERROR",
];

export class RunStream {
  // onEvent(event) gets every event once, in order; onState("live" | "reconnecting" | "ended") what the line does.
  constructor(runId, after, { onEvent, onState = () => {} }) {
    this.runId = runId;
    this.last = after;
    this.onEvent = onEvent;
    this.onState = onState;
    this.pause = FIRST_PAUSE_MS;
    this.gapAt = null;
    this.websocketWorks = "WebSocket" in window;
    this.ended = false;
    this.connect();
  }

  connect() {
    if (this.ended) return;
    this.websocketWorks ? this.openSocket() : this.openEventSource();
  }

  openSocket() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/ws/runs/${this.runId}?after=${this.last}`);
    let opened = false;
    this.hangUp = () => socket.close();
    socket.onopen = () => {
      opened = true;
      this.isLive();
    };
    socket.onmessage = (message) => this.receive(JSON.parse(message.data), socket);
    socket.onclose = () => {
      if (this.ended || this.socket !== socket) return;
      this.websocketWorks = opened;
      this.reconnect();
    };
    this.socket = socket;
  }

  openEventSource() {
    const source = new EventSource(`/chat/${this.runId}/stream?after=${this.last}`);
    this.hangUp = () => source.close();
    source.onopen = () => this.isLive();
    source.onerror = () => {
      source.close();
      if (!this.ended && this.socket === source) this.reconnect();
    };
    for (const type of TYPES) {
      source.addEventListener(type, (message) => {
        this.receive({ type, ...JSON.parse(message.data) }, source);
      });
    }
    this.socket = source;
  }

  receive(event, socket) {
    if (this.ended || this.socket !== socket) return;
    if (event.type === "STATE_SNAPSHOT") {
      this.last = Math.max(this.last, event.seq); // it shows all up to there
      return this.onEvent(event);
    }
    if (event.seq <= this.last) return;
    if (event.seq > this.last + 1 && this.gapAt !== this.last) {
      this.gapAt = this.last; // ask once more from here; a gap that stays is one the journal closed up itself
      socket.close();
      this.socket = null;
      return this.connect();
    }
    this.last = event.seq;
    this.onEvent(event);
    if (LAST_EVENTS.has(event.type)) this.close();
  }

  isLive() {
    this.pause = FIRST_PAUSE_MS;
    this.onState("live");
  }

  reconnect() {
    this.onState("reconnecting");
    this.timer = setTimeout(() => this.connect(), this.pause);
    this.pause = Math.min(this.pause * 2, LONGEST_PAUSE_MS);
  }

  close() {
    if (this.ended) return;
    this.ended = true;
    clearTimeout(this.timer);
    this.hangUp?.();
    this.onState("ended");
  }
}
