// Makers of stock clients. Each client is destroyed when its test ends.
//
// Options only shorten delays before a reconnect and keep clients of one process apart; nothing is replaced.

import { Repo } from '@automerge/automerge-repo';
import { WebSocketClientAdapter } from '@automerge/automerge-repo-network-websocket';
import { HocuspocusProvider, HocuspocusProviderWebsocket } from '@hocuspocus/provider';
import WebSocket from 'ws';
import { WebsocketProvider } from 'y-websocket';
import * as Y from 'yjs';

import { atEnd } from './cleanup.mjs';
import { until } from './wait.mjs';

process.setMaxListeners(0); // Every y-websocket provider listens for the end of the process.

/** The two Yjs dialects, for tests that hold for both. */
export const yjsDialects = { 'y-websocket': yWebsocket, hocuspocus };

/** Where clients of a dialect go: a server, a proxy, or one that stands in for another server and has its own URL. */
function url(at, path) {
  return at.url ?? `ws://${at.host}${path}`;
}

/** A y-websocket client of a room. `at` is a server or a proxy. */
export function yWebsocket(t, at, room, options = {}) {
  const { doc = new Y.Doc(), ...rest } = options;
  const provider = new WebsocketProvider(url(at, '/yjs'), room, doc, {
    WebSocketPolyfill: WebSocket,
    disableBc: true, // Clients in one process must meet on the server only.
    maxBackoffTime: 500,
    ...rest,
  });
  return yjsClient(t, provider, doc);
}

/** A Hocuspocus client of a document, on a socket of its own unless `websocketProvider` is given. */
export function hocuspocus(t, at, name, options = {}) {
  const { doc = new Y.Doc(), ...rest } = options;
  const socket = rest.websocketProvider ? {} : { url: url(at, '/hocuspocus'), ...reconnectSoon };
  const provider = new HocuspocusProvider({ name, document: doc, ...socket, ...rest });
  if (rest.websocketProvider) provider.attach();
  return yjsClient(t, provider, doc);
}

/** A socket for several Hocuspocus documents. */
export function hocuspocusSocket(t, at) {
  const socket = new HocuspocusProviderWebsocket({ url: url(at, '/hocuspocus'), ...reconnectSoon });
  atEnd(t, () => socket.destroy());
  return socket;
}

/** An automerge-repo client without storage. */
export function automergeRepo(t, at, options = {}) {
  const adapter = new WebSocketClientAdapter(url(at, '/automerge'), 1000);
  const repo = new Repo({ network: [adapter], ...options });
  const destroy = once(async () => {
    // The adapter drops its error listener first, and closing a half-open socket makes ws throw.
    await until(() => adapter.socket && adapter.socket.readyState !== WebSocket.CONNECTING);
    adapter.connect = () => {}; // A reconnect that is planned already would outlive the shutdown.
    await repo.shutdown();
  });
  atEnd(t, destroy);
  return {
    repo,
    destroy,
    get connected() {
      return adapter.socket?.readyState === WebSocket.OPEN && repo.peers.length > 0;
    },
    /** What the server's storage is called, once it has introduced itself. */
    get serverStorageId() {
      return repo.getStorageIdOfPeer(repo.peers[0]);
    },
  };
}

function yjsClient(t, provider, doc) {
  const destroy = once(() => {
    provider.destroy();
    doc.destroy();
  });
  atEnd(t, destroy);
  return {
    doc,
    provider,
    destroy,
    awareness: provider.awareness,
    get synced() {
      return provider.synced;
    },
  };
}

function once(action) {
  let result;
  return () => (result ??= Promise.resolve(action()));
}

/** Browsers report a socket that failed to open and go on; ws throws unless somebody listens. */
class BrowserLikeWebSocket extends WebSocket {
  constructor(...args) {
    super(...args);
    this.on('error', () => {});
  }
}

const reconnectSoon = { WebSocketPolyfill: BrowserLikeWebSocket, delay: 100, minDelay: 100, maxDelay: 500 };
