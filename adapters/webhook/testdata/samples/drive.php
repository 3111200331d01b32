<?php
require __DIR__ . '/verify.php';
error_reporting(E_ALL);
set_error_handler(function (int $number, string $text) { throw new ErrorException($text); });

$lines = explode("\n", stream_get_contents(STDIN));
while (count($lines) > 1) {
    $now = (int) array_shift($lines);
    $secrets = array_splice($lines, 0, (int) array_shift($lines));
    $headers = [];
    foreach (array_splice($lines, 0, (int) array_shift($lines)) as $line) {
        [$name, $value] = explode(' ', $line, 2);
        $headers[$name] = $value;
    }
    echo verify($headers, hex2bin(array_shift($lines)), $secrets NOW) ? 'true' : 'false', "\n";
}
