<?php
// Sends a letter with PHPMailer. Reads its orders as JSON from standard input; prints the letter as
// PHPMailer says that it has sent it, in base64. With "mail" it sends by PHP's own mail().

require '/usr/share/php/libphp-phpmailer/autoload.php';

use PHPMailer\PHPMailer\PHPMailer;

$orders = json_decode(stream_get_contents(STDIN));
$mail = new PHPMailer(true);
if ($orders->by_mail ?? false) {
    $mail->isMail();
} else {
    $mail->isSMTP();
    $mail->Host = $orders->host;
    $mail->Port = $orders->port;
    $mail->SMTPAutoTLS = false;
    $mail->SMTPSecure = ['none' => '', 'starttls' => 'tls', 'implicit' => 'ssl'][$orders->security];
    $mail->SMTPOptions = ['ssl' => ['cafile' => $orders->ca, 'peer_name' => 'localhost']];
    $mail->SMTPAuth = $orders->mechanism !== null;
    $mail->AuthType = $orders->mechanism ?? '';
    $mail->Username = $orders->login;
    $mail->Password = $orders->password;
}
$mail->CharSet = PHPMailer::CHARSET_UTF8;
$mail->setFrom('shop@example.com', 'Zoë Shop');
$mail->addAddress($orders->to);
$mail->Subject = 'Rechnung № 118';
$mail->isHTML();
$mail->Body = "<p>Grüße aus Köln</p>\n";
$mail->AltBody = ".\n..\n.Grüße aus Köln\n";
$mail->addAttachment($orders->attachment, 'Rechnung März.pdf');
$mail->send();
echo base64_encode($mail->getSentMIMEMessage()), "\n";
