// The two stock clients of Yjs documents, as an application holds them: documents in memory, connected or not.

import { HocuspocusProvider, HocuspocusProviderWebsocket } from '@hocuspocus/provider';
import WebSocket from 'ws';
import { WebsocketProvider } from 'y-websocket';
import * as Y from 'yjs';

/** What tombolo lets one connection open. */
const DOCUMENTS_PER_SOCKET = 2000;

process.setMaxListeners(0); // Every y-websocket provider listens for the end of the process.

class YjsClient {
  payloadBytes = 0;
  docs = new Map();
  providers = new Map();

  constructor(url) {
    this.url = url;
  }

  async open(name) {
    if (this.docs.has(name)) return name;
    const doc = new Y.Doc();
    doc.on('update', (update, origin, _, { local }) => {
      if (local) this.payloadBytes += update.length;
    });
    this.docs.set(name, doc);
    this.providers.set(name, this.provide(name, doc));
    return name;
  }

  async openMany(prefix, count) {
    const names = Array.from({ length: count }, (_, n) => `${prefix}${n}`);
    for (const name of names) await this.open(name);
    return names;
  }

  text(name) {
    return this.docs.get(name).getText('text');
  }

  length(name) {
    return this.text(name).length;
  }

  watch(name, heard) {
    this.text(name).observe(heard);
  }

  /** Each edit is a transaction. */
  edit(name, edits) {
    const text = this.text(name);
    for (const [position, deleted, inserted] of edits) {
      text.doc.transact(() => {
        if (deleted > 0) text.delete(position, deleted);
        if (inserted !== '') text.insert(position, inserted);
      });
    }
  }

  isSynced(name) {
    return this.providers.get(name).synced;
  }

  isAllSynced() {
    for (const provider of this.providers.values()) if (!provider.synced) return false;
    return true;
  }
}

/** A socket for each document. */
export class YWebsocket extends YjsClient {
  connected = false;

  provide(name, doc) {
    return new WebsocketProvider(`${this.url}/yjs`, name, doc, {
      WebSocketPolyfill: WebSocket,
      disableBc: true, // Clients meet on the server only.
      connect: this.connected,
    });
  }

  async connect() {
    this.connected = true;
    for (const provider of this.providers.values()) provider.connect();
  }

  async disconnect() {
    this.connected = false;
    for (const provider of this.providers.values()) {
      provider.disconnect();
      while (provider.ws !== null) await new Promise((done) => provider.ws.addEventListener('close', done));
    }
  }
}

/** Many documents on a socket. */
export class Hocuspocus extends YjsClient {
  sockets = [];

  provide(name, document) {
    if (this.providers.size >= this.sockets.length * DOCUMENTS_PER_SOCKET) {
      const url = `${this.url}/hocuspocus`;
      this.sockets.push(new HocuspocusProviderWebsocket({ url, WebSocketPolyfill: WebSocket, autoConnect: false }));
    }
    const provider = new HocuspocusProvider({ name, document, websocketProvider: this.sockets.at(-1) });
    provider.attach();
    return provider;
  }

  async connect() {
    await Promise.all(this.sockets.map((socket) => socket.connect()));
  }

  async disconnect() {
    for (const socket of this.sockets) {
      socket.disconnect();
      while (socket.status !== 'disconnected') await new Promise((done) => setTimeout(done, 1));
    }
  }

  isSaved(name) {
    return this.providers.get(name).unsyncedChanges === 0;
  }
}
