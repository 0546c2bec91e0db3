// Sends letters with nodemailer. Reads its orders as JSON from standard input; prints each letter
// as nodemailer itself renders it, in base64, one a line.
'use strict';

const nodemailer = require('nodemailer');
const fs = require('fs');

const orders = JSON.parse(fs.readFileSync(0, 'utf8'));
const transport = nodemailer.createTransport({
  host: orders.host,
  port: orders.port,
  pool: orders.letters > 1,
  maxConnections: 2,
  secure: orders.security === 'implicit',
  requireTLS: orders.security === 'starttls',
  tls: { ca: fs.readFileSync(orders.ca), servername: 'localhost' },
  authMethod: orders.mechanism || undefined,
  auth: orders.mechanism ? { user: orders.login, pass: orders.password } : undefined,
});

// The last step before the transport: what is rendered here is rendered there once more, the same.
const rendered = [];
transport.use('stream', (mail, done) => {
  mail.message.build((error, content) => {
    rendered.push(content);
    done(error);
  });
});

const letter = (number) => ({
  from: 'Zoë Shop <shop@example.com>',
  to: orders.to,
  subject: `Rechnung № ${number}`,
  text: '.\n..\n.Grüße aus Köln\n',
  html: '<p>Grüße aus Köln</p>',
  attachments: [{ filename: 'Rechnung März.pdf', content: fs.readFileSync(orders.attachment) }],
});

(async () => {
  const numbers = [...Array(orders.letters).keys()];
  await Promise.all(numbers.map((number) => transport.sendMail(letter(number))));
  transport.close();
  for (const content of rendered) console.log(content.toString('base64'));
})();
