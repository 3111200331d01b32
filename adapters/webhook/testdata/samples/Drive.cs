using System;
using System.Collections.Generic;
using System.Linq;

public static class Drive
{
    public static void Main()
    {
        for (string line; (line = Console.ReadLine()) != null;)
        {
            var now = DateTimeOffset.FromUnixTimeSeconds(long.Parse(line));
            var secrets = Enumerable.Range(0, int.Parse(Console.ReadLine())).Select(i => Console.ReadLine()).ToList();
            var headers = new Dictionary<string, string>();
            for (var n = int.Parse(Console.ReadLine()); n > 0; n--)
            {
                var parts = Console.ReadLine().Split(new[] { ' ' }, 2);
                headers[parts[0]] = parts[1];
            }
            var hex = Console.ReadLine();
            var body = Enumerable.Range(0, hex.Length / 2).Select(i => Convert.ToByte(hex.Substring(2 * i, 2), 16)).ToArray();
            Func<string, string> header = name => headers.TryGetValue(name, out var value) ? value : null;
            Console.WriteLine(Webhooks.Verify(header, body, secrets NOW) ? "true" : "false");
        }
    }
}
