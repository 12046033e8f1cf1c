// Builds the page into dist/, which is committed and embedded into the binary.
//
// Guarantees: the same sources and lock file give the same bytes, so a rebuild proves dist/ honest; and the script
// never outgrows its budget, because the build fails first.

import { copyFile, mkdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const SCRIPT_GZIP_BYTES_MAX = 110_000;

const here = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));

await mkdir(here('dist'), { recursive: true });
await build({
  entryPoints: { app: here('src/main.js'), style: here('src/style.css') },
  outdir: here('dist'),
  absWorkingDir: here('.'),
  bundle: true,
  minify: true,
  format: 'iife',
  target: ['chrome114', 'firefox121', 'safari17'],
  legalComments: 'none',
});
await copyFile(here('src/index.html'), here('dist/index.html'));

const bytes = gzipSync(await readFile(here('dist/app.js')), { level: 9 }).length;
console.log(`dist/app.js: ${bytes} bytes gzipped, ${SCRIPT_GZIP_BYTES_MAX} allowed`);
if (bytes > SCRIPT_GZIP_BYTES_MAX) {
  process.exitCode = 1;
}
