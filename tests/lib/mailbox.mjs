// A mail server that takes everything, without TLS and a login, as one on this machine may, and keeps it.
import { createServer } from 'node:net';

export async function startMailbox() {
  const mails = [];
  const server = createServer((socket) => {
    const say = (line) => socket.write(`${line}\r\n`);
    let pending = '';
    let to = '';
    let mail; // lines of the one that is being taken
    const hear = (line) => {
      const verb = line.slice(0, 4).toUpperCase();
      if (mail && line === '.') {
        mails.push({ to, text: mail.join('\n').replace(/\n[ \t]+/g, ' ') }); // headers in one line each
        mail = undefined;
        say('250 taken');
      } else if (mail) mail.push(line);
      else if (verb === 'DATA') {
        mail = [];
        say('354 go on');
      } else if (verb === 'QUIT') {
        say('221 bye');
        socket.end();
      } else {
        if (verb === 'RCPT') [, to] = line.match(/<([^>]*)>/);
        say('250 fine');
      }
    };
    socket.on('data', (chunk) => {
      const lines = (pending + chunk).split('\r\n');
      pending = lines.pop();
      lines.forEach(hear);
    }).on('error', () => {});
    say('220 mailbox');
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  server.unref(); // it does not keep the process from ending
  return {
    url: `smtp://127.0.0.1:${server.address().port}`,
    // unsubscribeLink is the path of the link in the last mail to an address.
    unsubscribeLink: (address) => mails.findLast((m) => m.to === address)?.text.match(/^List-Unsubscribe: <https?:\/\/[^/]+([^>]+)>/m)[1],
    close: () => new Promise((resolve) => { server.close(resolve); }),
  };
}
