// @y/websocket-server's own program, without storage; it takes its address from the environment.
process.env.HOST = '127.0.0.1'
process.env.PORT = process.argv[2]
await import(new URL('node_modules/@y/websocket-server/src/server.js', import.meta.url))
