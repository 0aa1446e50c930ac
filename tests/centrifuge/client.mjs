// The published Centrifuge client, unchanged: prints what it sees, one JSON line each, until its
// standard input ends. Arguments: the gateway's base URL, a token.
import { Centrifuge } from 'centrifuge';
import WebSocket from 'ws';

const [gateway, token] = process.argv.slice(2);
const say = (event, context) => console.log(JSON.stringify({ event, ...context }));

const client = new Centrifuge(gateway.replace(/^http/, 'ws') + '/connection/websocket', {
  token,
  websocket: WebSocket,
  minReconnectDelay: 50,
  maxReconnectDelay: 500,
});

client.on('connected', () => say('connected'));
client.on('connecting', ({ code, reason }) => say('connecting', { code, reason }));
client.on('disconnected', ({ code, reason }) => say('disconnected', { code, reason }));
client.on('error', ({ error }) => say('error', { message: error.message }));
client.on('subscribed', ({ channel, wasRecovering, recovered }) =>
  say('subscribed', { channel, wasRecovering, recovered }));
client.on('publication', ({ channel, offset, data }) => say('publication', { channel, offset, data }));

process.stdin.on('end', () => process.exit(0)).resume();
client.connect();
